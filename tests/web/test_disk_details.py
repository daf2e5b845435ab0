"""What is known about a file: who did what to it, who may see it, what it is given by; each by right."""

from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock

import anyio
import pytest
from blake3 import blake3
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.testclient import TestClient

from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk import links
from appliance.disk.access import Held
from appliance.disk.batch import pack
from appliance.model import Person, Role
from appliance.packed import pack_path
from appliance.policy.share_rights import ALL, Right
from appliance.web.api import disk_details
from tests.support.armoire import until

TUS = {"tus-resumable": "1.0.0"}
DATA = b"Ch\xc3\xa8re cons\xc5\x93ur"
HASH = f"blake3:{blake3(DATA).hexdigest()}"


@pytest.fixture
def share(database: Database, tmp_path: Path, person_of: Callable[[Role], Person]) -> Share:
    """A share on which the owner may do all, the secretary see, and the associate only add."""
    folder = tmp_path / "documents"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "letter.txt").write_bytes(DATA)
    for role in (Role.OWNER, Role.SECRETARY, Role.ASSOCIATE, Role.TECHNICAL_ADMIN):
        person_of(role)
    with database.write() as connection:
        made = shares.add(
            connection, name="documents", label="Documents", folder=folder, now=utc_now()
        )
        for role, rights in (
            (Role.OWNER, ALL),
            (Role.SECRETARY, {Right.SEE}),
            (Role.ASSOCIATE, {Right.ADD}),
        ):
            shares.grant(connection, made.id, rights, role=role, by=None, now=utc_now())
    return made


def about(client: TestClient, path: str = "in/letter.txt"):
    return client.get(f"/api/v1/disk/documents/about?p={pack_path(path.encode())}")


def test_who_touched_it_and_who_may_see_it(owner: TestClient, share: Share, client_as) -> None:
    """In words, newest first; only those who may see it now are named as those who can."""
    owner.get(f"/disk/documents/file?p={pack_path(b'in/letter.txt')}")
    client_as(Role.SECRETARY).get(f"/disk/documents/file?p={pack_path(b'in/letter.txt')}")
    told = about(client_as(Role.OWNER)).json()
    assert [(each["who"], each["what"]) for each in told["touches"]] == [
        ("Claude Martin secretary", "opened it"),
        ("Claude Martin owner", "opened it"),
    ]
    seers = {each["name"]: each["rights"] for each in told["seers"]}
    assert seers == {
        "Claude Martin owner": ["see", "add", "change", "delete", "share outside"],
        "Claude Martin secretary": ["see"],
    }
    assert told["kind"] == "file"
    assert told["size"] == len(DATA)
    assert told["versions"] is None  # this share is not backed up
    assert told["ledger"] == f"/ledger/document/documents?p={pack_path(b'in/letter.txt')}"
    assert owner.get(told["ledger"]).status_code == 200


def test_each_is_told_by_right(client_as, share: Share) -> None:
    """The secretary has no way to the journal; who only adds is told nothing, the administrator nothing at all."""
    assert about(client_as(Role.SECRETARY)).json()["ledger"] is None
    assert about(client_as(Role.ASSOCIATE)).status_code == 403
    for role in (Role.LOCUM, Role.TECHNICAL_ADMIN):
        assert about(client_as(role)).status_code == 404
        asked = client_as(role).post(
            "/api/v1/disk/documents/hash", json={"path": pack_path(b"in/letter.txt")}
        )
        assert asked.status_code == 404
    owner = client_as(Role.OWNER)
    assert about(owner, "in/gone.txt").status_code == 404
    assert about(owner, "../x").status_code == 422
    assert about(owner, "").status_code == 422
    folder = about(owner, "in").json()
    assert (folder["kind"], folder["versions"], folder["hash"]) == ("folder", None, None)


def send(client: TestClient, name: str, data: bytes, way: str) -> None:
    digest = f"blake3:{blake3(data).hexdigest()}"
    if way == "batch":
        head = {"path": pack_path(name.encode()), "size": len(data), "hash": digest}
        body = pack([(head, data)])
        assert client.post("/api/v1/disk/documents/batch", content=body).status_code == 200
        return
    told = (
        f"filename {b64encode(name.encode()).decode()},hash {b64encode(digest.encode()).decode()}"
    )
    place = client.post(
        "/api/v1/disk/documents/uploads",
        headers=TUS | {"upload-length": str(len(data)), "upload-metadata": told},
    ).headers["location"]
    part = TUS | {"content-type": "application/offset+octet-stream", "upload-offset": "0"}
    assert client.patch(place, content=data, headers=part).status_code == 204


@pytest.mark.parametrize("way", ["batch", "tus"])
def test_the_hash_that_was_compared_on_the_way_is_known_until_the_content_changes(
    owner: TestClient, share: Share, way: str
) -> None:
    """Under a new name too; a change through any door makes it unknown; it can be worked out."""
    send(owner, "scan.txt", DATA, way)
    assert about(owner, "scan.txt").json()["hash"] == HASH
    body = {"items": [pack_path(b"scan.txt")], "folder": pack_path(b"in"), "new_name": "b.txt"}
    assert owner.post("/api/v1/disk/documents/move", json=body).status_code == 200
    assert about(owner, "in/b.txt").json()["hash"] == HASH
    place = share.folder / "in" / "b.txt"
    place.write_bytes(DATA + b"!")
    assert about(owner, "in/b.txt").json()["hash"] is None
    asked = owner.post("/api/v1/disk/documents/hash", json={"path": pack_path(b"in/b.txt")})
    assert asked.json() == {
        "hash": f"blake3:{blake3(DATA + b'!').hexdigest()}",
        "size": len(DATA) + 1,
    }
    folder = owner.post("/api/v1/disk/documents/hash", json={"path": pack_path(b"in")})
    assert folder.status_code == 404


class Slow:
    """A hash that is not done before it is told to go on."""

    go_on: Event
    lock = Lock()
    running = most = 0

    def __init__(self) -> None:
        with self.lock:
            Slow.running += 1
            Slow.most = max(Slow.most, Slow.running)

    def update(self, _: bytes) -> None:
        assert self.go_on.wait(60)

    def hexdigest(self) -> str:
        with self.lock:
            Slow.running -= 1
        return "0" * 64


def test_forty_that_have_large_files_hashed_hold_up_nobody(
    owner: TestClient, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages are made in threads as well, and there are forty of those."""
    Slow.go_on, Slow.running, Slow.most = Event(), 0, 0
    monkeypatch.setattr(disk_details, "blake3", Slow)
    ask = {"path": pack_path(b"in/letter.txt")}
    with ThreadPoolExecutor(46) as pool:
        try:
            asked = [
                pool.submit(owner.post, "/api/v1/disk/documents/hash", json=ask) for _ in range(45)
            ]
            until(lambda: Slow.running >= disk_details.HASHED_AT_ONCE)
            assert pool.submit(about, owner).result(30).status_code == 200
        finally:
            Slow.go_on.set()
        assert [each.result(60).status_code for each in asked] == [200] * 45
    assert Slow.most == disk_details.HASHED_AT_ONCE


def test_a_file_is_not_read_on_for_who_has_gone(share: Share) -> None:
    """A closed page does not keep the disk busy for eight gigabytes."""
    with (share.folder / "large").open("wb") as file:
        file.truncate(disk_details.LARGEST_HASHED)

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    request = Request({"type": "http"}, gone)
    with pytest.raises(HTTPException):
        anyio.run(disk_details._while_there, request, Held(share, ALL), b"large")


def test_links_that_give_it_are_named(
    client_as, share: Share, database: Database, person_of: Callable[[Role], Person]
) -> None:
    """Its own and those of a folder above; no longer than they are open; others' to who may see all."""
    held = Held(share, ALL)

    def give(path: bytes, label: str):
        return links.make(
            database, held, path, kind="give", person_id=person_of(Role.OWNER).id, label=label,
            days=3, now=utc_now(), hash_password=None,
        ).link  # fmt: skip

    give(b"in/letter.txt", "Dr Durand")
    give(b"in", "Dr Petit")
    ended = give(b"in/letter.txt", "Dr Ancien")
    owner = person_of(Role.OWNER)
    with database.write() as connection:
        links.revoke(connection, ended, by=owner.id, now=utc_now())
    told = about(client_as(Role.OWNER)).json()["links"]
    assert {(each["label"], each["of_folder"]) for each in told} == {
        ("Dr Durand", False),
        ("Dr Petit", True),
    }
    assert about(client_as(Role.SECRETARY)).json()["links"] == []
