"""A disk that fills up while files come: it is said, what arrived stays, and nothing half-written gets a name."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import CalledProcessError

import pytest
from starlette.testclient import TestClient

from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk import actions
from appliance.disk.batch import pack
from appliance.model import Role
from appliance.policy.share_rights import ALL
from tests.support import small_disk

MB = 1_000_000
TUS = {"tus-resumable": "1.0.0"}
PART = TUS | {"content-type": "application/offset+octet-stream"}


@pytest.fixture
def share(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Share]:
    """A share on a disk of 12 MB of its own."""
    monkeypatch.setattr(actions, "FREE_FLOOR", 0)
    folder = tmp_path / "documents"
    with ExitStack() as stack:
        try:
            stack.enter_context(small_disk.mounted(folder, 12 * MB))
        except (CalledProcessError, FileNotFoundError):
            pytest.skip("a disk can be mounted by root only")
        with database.write() as connection:
            made = shares.add(
                connection, name="documents", label="Documents", folder=folder, now=utc_now()
            )
            shares.grant(connection, made.id, ALL, role=Role.OWNER, by=None, now=utc_now())
        yield made


def begin(owner: TestClient, name: str, size: int):
    head = f"filename {b64encode(name.encode()).decode()}"
    return owner.post(
        "/api/v1/disk/documents/uploads",
        headers=TUS | {"upload-length": str(size), "upload-metadata": head},
    )


def test_a_large_one_goes_on_when_there_is_room_again(owner: TestClient, share: Share) -> None:
    """Refused before when it cannot fit; cut at the full disk with 507; then the rest."""
    assert begin(owner, "film.avi", 20 * MB).status_code == 507
    place = begin(owner, "film.avi", 8 * MB).headers["location"]
    data = b"0123456789" * (8 * MB // 10)
    with small_disk.nearly_full(share.folder, 3 * MB):
        full = owner.patch(place, content=data, headers=PART | {"upload-offset": "0"})
        assert full.status_code == 507
        assert full.json()["error"]["code"] == "disk.share-full"
        at = int(owner.head(place, headers=TUS).headers["upload-offset"])
        assert 2 * MB <= at < 8 * MB
    rest = owner.patch(place, content=data[at:], headers=PART | {"upload-offset": str(at)})
    assert rest.status_code == 204
    assert (share.folder / "film.avi").read_bytes() == data


def test_a_batch_that_does_not_fit_leaves_nothing(owner: TestClient, share: Share) -> None:
    """507, and neither names nor parts."""
    size = 500_000
    files = [
        (
            {"path": urlsafe_b64encode(b"%d.tif" % place).decode().rstrip("="), "size": size},
            bytes(size),
        )
        for place in range(12)
    ]
    with small_disk.nearly_full(share.folder, 3 * MB):
        full = owner.post("/api/v1/disk/documents/batch", content=pack(files))
        assert full.status_code == 507
        assert sorted(each.name for each in share.folder.iterdir()) == [".armoire", "ballast"]
        assert list((share.folder / ".armoire" / "parts").iterdir()) == []
    assert owner.post("/api/v1/disk/documents/batch", content=pack(files)).status_code == 200
    assert len(list(share.folder.glob("*.tif"))) == 12


def test_a_body_that_arrives_damaged_names_nothing(owner: TestClient, share: Share) -> None:
    """Its digest says so: 460, and it is sent again."""
    body = pack([({"path": "YS50eHQ", "size": 3}, b"abc")])
    wrong = {"content-digest": f"sha-256=:{b64encode(bytes(32)).decode()}:"}
    answer = owner.post("/api/v1/disk/documents/batch", content=body, headers=wrong)
    assert answer.status_code == 460
    assert not (share.folder / "a.txt").exists()
