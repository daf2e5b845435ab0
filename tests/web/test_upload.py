"""Uploads over HTTP: tus for large files, one body for many small ones."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from starlette.testclient import TestClient

from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk.batch import pack
from appliance.model import Person, Role
from appliance.policy.share_rights import ALL, Right

DATA = bytes(range(256)) * 20_000
TUS = {"tus-resumable": "1.0.0"}
PART = TUS | {"content-type": "application/offset+octet-stream"}


@pytest.fixture
def share(database: Database, tmp_path: Path, person_of: Callable[[Role], Person]) -> Share:
    """A share on which the owner may do all, and the secretary see."""
    folder = tmp_path / "documents"
    folder.mkdir()
    with database.write() as connection:
        made = shares.add(
            connection, name="documents", label="Documents", folder=folder, now=utc_now()
        )
        for role, rights in ((Role.OWNER, ALL), (Role.SECRETARY, {Right.SEE})):
            shares.grant(connection, made.id, rights, role=role, by=None, now=utc_now())
    return made


def metadata(name: str, **more: str) -> str:
    told = {"filename": name, **more}
    return ",".join(f"{each} {b64encode(value.encode()).decode()}" for each, value in told.items())


def begin(client: TestClient, name: str, size: int, **more: str):
    return client.post(
        "/api/v1/disk/documents/uploads",
        headers=TUS | {"upload-length": str(size), "upload-metadata": metadata(name, **more)},
    )


def test_a_cut_upload_goes_on(owner: TestClient, share: Share) -> None:
    """Asked where it is, it goes on there, and the file is whole."""
    begun = begin(owner, "radio.dcm", len(DATA), hash="blake3:" + blake3(DATA).hexdigest())
    assert begun.status_code == 201
    place = begun.headers["location"]
    first = owner.patch(place, content=DATA[:1_000_000], headers=PART | {"upload-offset": "0"})
    assert (first.status_code, first.headers["upload-offset"]) == (204, "1000000")
    assert owner.head(place, headers=TUS).headers["upload-offset"] == "1000000"
    wrong = owner.patch(place, content=b"x", headers=PART | {"upload-offset": "5"})
    assert wrong.status_code == 409
    rest = owner.patch(place, content=DATA[1_000_000:], headers=PART | {"upload-offset": "1000000"})
    assert rest.status_code == 204
    assert (share.folder / "radio.dcm").read_bytes() == DATA
    assert owner.head(place, headers=TUS).status_code == 404


def test_an_upload_in_one_request(owner: TestClient, share: Share) -> None:
    """Creation with the bytes, an empty file, and a folder named by ``p``."""
    (share.folder / "in").mkdir()
    packed = urlsafe_b64encode(b"in").decode().rstrip("=")
    made = owner.post(
        f"/api/v1/disk/documents/uploads?p={packed}",
        content=b"hello",
        headers=PART | {"upload-length": "5", "upload-metadata": metadata("é.txt")},
    )
    assert (made.status_code, made.headers["upload-offset"]) == (201, "5")
    assert (share.folder / "in" / "é.txt").read_bytes() == b"hello"
    assert begin(owner, "empty.txt", 0).status_code == 201
    assert (share.folder / "empty.txt").read_bytes() == b""


def test_a_taken_name_is_asked_once(owner: TestClient, share: Share) -> None:
    """At the beginning; and at the end with the bytes kept, when it was taken meanwhile."""
    (share.folder / "a.txt").write_bytes(b"old")
    assert begin(owner, "a.txt", 3).status_code == 409
    place = begin(owner, "b.txt", 3).headers["location"]
    (share.folder / "b.txt").write_bytes(b"another's")
    assert (
        owner.patch(place, content=b"new", headers=PART | {"upload-offset": "0"}).status_code == 409
    )
    answer = owner.post(f"{place}/name", json={"name": "b.txt", "replaces": True})
    assert answer.status_code == 200, answer.text
    assert answer.json()["size"] == 3
    assert (share.folder / "b.txt").read_bytes() == b"new"


def test_a_damaged_upload_is_said(owner: TestClient, share: Share) -> None:
    """With the status that tus has for it; nothing stays."""
    place = begin(owner, "a.txt", 3, hash="blake3:" + "0" * 64).headers["location"]
    sent = owner.patch(place, content=b"new", headers=PART | {"upload-offset": "0"})
    assert sent.status_code == 460
    assert not (share.folder / "a.txt").exists()


def test_an_upload_is_given_up(owner: TestClient, share: Share) -> None:
    """And is not known any more."""
    place = begin(owner, "a.txt", 3).headers["location"]
    assert owner.delete(place, headers=TUS).status_code == 204
    assert owner.delete(place, headers=TUS).status_code == 404
    assert list((share.folder / ".armoire" / "parts").iterdir()) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 422),
        (TUS, 422),
        (TUS | {"upload-length": "-1"}, 422),
        (TUS | {"upload-length": "5"}, 422),
        (TUS | {"upload-length": "5", "upload-metadata": "filename !!"}, 422),
        (TUS | {"upload-length": "5", "upload-metadata": metadata("../x")}, 422),
        (TUS | {"upload-length": str(1 << 60), "upload-metadata": metadata("x")}, 422),
        (TUS | {"upload-length": str(1 << 41), "upload-metadata": metadata("x")}, 507),
    ],
)
def test_what_is_no_upload_is_refused(
    owner: TestClient, share: Share, headers: dict[str, str], status: int
) -> None:
    """Before any byte."""
    assert owner.post("/api/v1/disk/documents/uploads", headers=headers).status_code == status


def test_who_may_not_add_cannot_upload(
    client_as: Callable[[Role], TestClient], share: Share
) -> None:
    """The one who may see is told no; the others are told that there is no such share."""
    body = pack([({"path": "YQ", "size": 1}, b"1")])
    for role, status in (
        (Role.SECRETARY, 403),
        (Role.ASSOCIATE, 404),
        (Role.LOCUM, 404),
        (Role.TECHNICAL_ADMIN, 404),
    ):
        client = client_as(role)
        assert begin(client, "a.txt", 1).status_code == status
        assert client.post("/api/v1/disk/documents/batch", content=body).status_code == status
    assert [each.name for each in share.folder.iterdir()] == []


def test_many_files_in_one_body(owner: TestClient, share: Share) -> None:
    """Each with an answer of its own, in the reader's language."""
    (share.folder / "taken.txt").write_bytes(b"old")

    def head(path: str, content: bytes) -> dict[str, object]:
        return {
            "path": urlsafe_b64encode(path.encode()).decode().rstrip("="),
            "size": len(content),
        }

    files = [(head(f"f/{n}.txt", b"%d" % n), b"%d" % n) for n in range(300)]
    files.append((head("taken.txt", b"x"), b"x"))
    answer = owner.post("/api/v1/disk/documents/batch", content=pack(files))
    assert answer.status_code == 200
    found = answer.json()["files"]
    assert [("error" in each) for each in found] == [False] * 300 + [True]
    assert found[-1]["error"]["code"] == "disk.name-taken"
    assert (share.folder / "f" / "299.txt").read_bytes() == b"299"
    assert owner.post("/api/v1/disk/documents/batch", content=b"\0\0").status_code == 422


def test_a_right_taken_away_ends_the_upload(
    owner: TestClient, share: Share, database: Database
) -> None:
    """In the middle of it: the next bytes are refused."""
    place = begin(owner, "a.txt", 6).headers["location"]
    owner.patch(place, content=b"abc", headers=PART | {"upload-offset": "0"})
    with database.write() as connection:
        shares.grant(connection, share.id, {Right.SEE}, role=Role.OWNER, by=None, now=utc_now())
    end = owner.patch(place, content=b"def", headers=PART | {"upload-offset": "3"})
    assert end.status_code == 403
    assert not (share.folder / "a.txt").exists()
