"""The network disk as JSON: what one may do, and nothing else."""

import io
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from starlette.testclient import TestClient

from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.model import Person, Role
from appliance.policy.share_rights import ALL, Right

API = "/api/v1/disk/documents"


def packed(path: str | bytes) -> str:
    raw = path.encode() if isinstance(path, str) else path
    return urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.fixture
def share(database: Database, tmp_path: Path, person_of: Callable[[Role], Person]) -> Share:
    """A share on which the owner may do all, and the secretary see."""
    folder = tmp_path / "documents"
    (folder / "letters" / "2026").mkdir(parents=True)
    (folder / "letters" / "march.txt").write_bytes(b"a letter of march")
    (folder / "letters" / "2026" / "x.bin").write_bytes(bytes(300_000))
    (folder / "photo.jpg").write_bytes(b"\xff\xd8")
    (folder / "out").symlink_to("/etc")
    with database.write() as connection:
        made = shares.add(
            connection, name="documents", label="Documents", folder=folder, now=utc_now()
        )
        for role, rights in ((Role.OWNER, ALL), (Role.SECRETARY, {Right.SEE})):
            shares.grant(connection, made.id, rights, role=role, by=None, now=utc_now())
    return made


def test_a_folder_in_columns(owner: TestClient, share: Share) -> None:
    """Folders first, sizes and times beside, names that are no text by their bytes."""
    (share.folder / "caf\udce9").write_bytes(b"1")
    found = owner.get(f"{API}/list").json()
    assert found["n"] == ["letters", "caf�", "out", "photo.jpg"]
    assert found["k"] == "dflf"
    assert found["s"] == [0, 1, 0, 2]
    assert found["raw"] == {"1": packed(b"caf\xe9")}
    inner = owner.get(f"{API}/list?p={packed('letters')}").json()
    assert inner["n"] == ["2026", "march.txt"]
    assert owner.get(f"{API}/list?p={packed('out')}").status_code == 404
    assert owner.get(f"{API}/list?p={packed('../x')}").status_code == 422


def test_files_are_moved_copied_deleted_and_put_back(owner: TestClient, share: Share) -> None:
    """Each with an answer of its own."""
    assert owner.post(f"{API}/folders", json={"path": packed("new")}).status_code == 201
    assert owner.post(f"{API}/folders", json={"path": packed("new")}).status_code == 409
    moved = owner.post(
        f"{API}/move",
        json={"items": [packed("photo.jpg"), packed("gone")], "folder": packed("new")},
    ).json()["done"]
    assert [each["code"] for each in moved] == ["", "disk.file-missing"]
    copied = owner.post(
        f"{API}/copy",
        json={"items": [packed("letters")], "folder": "", "new_name": "letters copy"},
    ).json()["done"]
    assert copied[0]["new_path"] == packed("letters copy")
    assert (share.folder / "letters copy" / "2026" / "x.bin").stat().st_size == 300_000
    deleted = owner.post(f"{API}/delete", json={"items": [packed("letters")]}).json()["done"]
    assert not (share.folder / "letters").exists()
    (item,) = owner.get(f"{API}/bin").json()
    assert (item["name"], item["files"], item["id"]) == ("letters", 2, deleted[0]["bin_id"])
    back = owner.post(f"{API}/bin/{item['id']}/put-back").json()
    assert back["new_path"] == packed("letters")
    assert (share.folder / "letters" / "march.txt").read_bytes() == b"a letter of march"
    assert owner.post(f"{API}/bin/{item['id']}/put-back").status_code == 404


def test_a_file_is_sent_whole_in_part_or_not_at_all(owner: TestClient, share: Share) -> None:
    """Small in one message, large in pieces, ranges, and 304 for who has it already."""
    small = owner.get(f"/disk/documents/file?p={packed('letters/march.txt')}")
    assert small.content == b"a letter of march"
    assert small.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in small.headers["content-security-policy"]
    again = owner.get(
        f"/disk/documents/file?p={packed('letters/march.txt')}",
        headers={"if-none-match": small.headers["etag"]},
    )
    assert (again.status_code, again.content) == (304, b"")
    large = f"/disk/documents/file?p={packed('letters/2026/x.bin')}"
    assert len(owner.get(large).content) == 300_000
    part = owner.get(large, headers={"range": "bytes=299990-"})
    assert (part.status_code, len(part.content)) == (206, 10)
    assert owner.get(large, headers={"range": "bytes=400000-"}).status_code == 416
    assert owner.head(large).headers["content-length"] == "300000"
    for path in ("letters", "out", "out/passwd", "nothing"):
        assert owner.get(f"/disk/documents/file?p={packed(path)}").status_code == 404


def test_a_zip_has_the_length_it_announced(owner: TestClient, share: Share) -> None:
    """Links are left out; what is named twice is in it once."""
    answer = owner.post(
        "/disk/documents/zip",
        data={"p": [packed("letters"), packed("letters/march.txt"), packed("photo.jpg")]},
    )
    assert int(answer.headers["content-length"]) == len(answer.content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        assert found.testzip() is None
        assert sorted(found.namelist()) == [
            "letters/",
            "letters/2026/",
            "letters/2026/x.bin",
            "letters/march.txt",
            "photo.jpg",
        ]


def test_who_may_only_see_changes_nothing(
    client_as: Callable[[Role], TestClient], share: Share
) -> None:
    """Reading goes, every change is refused."""
    client = client_as(Role.SECRETARY)
    assert client.get(f"{API}/list").status_code == 200
    assert client.get(f"/disk/documents/file?p={packed('photo.jpg')}").status_code == 200
    assert client.post(f"{API}/folders", json={"path": packed("n")}).status_code == 403
    for verb in ("move", "copy"):
        answer = client.post(
            f"{API}/{verb}", json={"items": [packed("photo.jpg")], "new_name": "n"}
        )
        assert answer.json()["done"][0]["code"] == "access.not-allowed"
    answer = client.post(f"{API}/delete", json={"items": [packed("photo.jpg")]})
    assert answer.json()["done"][0]["code"] == "access.not-allowed"
    assert sorted(each.name for each in share.folder.iterdir()) == ["letters", "out", "photo.jpg"]


@pytest.mark.parametrize("role", [Role.ASSOCIATE, Role.LOCUM, Role.TECHNICAL_ADMIN])
def test_who_has_no_right_sees_no_share(
    client_as: Callable[[Role], TestClient], share: Share, role: Role
) -> None:
    """Not even that it is there."""
    client = client_as(role)
    found = client.get("/api/v1/disk")
    assert found.status_code == 404 or found.json() == []
    for path in ("list", "bin"):
        assert client.get(f"{API}/{path}").status_code == 404
    assert client.get(f"/disk/documents/file?p={packed('photo.jpg')}").status_code == 404
    assert client.post("/disk/documents/zip", data={"p": packed("photo.jpg")}).status_code == 404


def test_a_long_copy_says_how_far_it_is(owner: TestClient, share: Share) -> None:
    """Lines of JSON, the last with what became of each; a taken name is answered for all at once."""
    body = {
        "items": [packed("photo.jpg"), packed("letters/march.txt")],
        "folder": packed("letters"),
    }
    answer = owner.post(f"{API}/copy?stream=1", json=body)
    *told, last = [orjson.loads(line) for line in answer.content.splitlines()]
    assert told[-1] == {"bytes": 19, "total": 19, "items": 2}
    assert [each["new_path"] for each in last["done"]] == [
        packed("letters/photo.jpg"),
        packed("letters/march (2).txt"),
    ]
    again = owner.post(f"{API}/copy?stream=1", json={**body, "items": [packed("photo.jpg")]})
    (done,) = orjson.loads(again.content.splitlines()[-1])["done"]
    assert done["code"] == "disk.name-taken"
    kept = owner.post(f"{API}/copy", json={**body, "on_clash": "both"}).json()["done"]
    assert kept[0]["new_path"] == packed("letters/photo (2).jpg")
