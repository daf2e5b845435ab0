"""Uploads go on where they were, are checked, and take their name whole or not at all."""

import errno
import os
import random
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.clock import utc_now
from appliance.db.engine import Database
from appliance.disk import actions, uploads
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.disk.actions import Doer
from appliance.disk.batch import Batch, pack
from appliance.errors import (
    FileChanged,
    InvalidInput,
    NameTaken,
    NotAllowed,
    ShareFull,
    UploadBusy,
    UploadDamaged,
    UploadGone,
)
from appliance.model import PersonId
from appliance.policy.share_rights import ALL, Right
from tests.unit.disk.conftest import NOW

Hold = Callable[..., Held]
DATA = bytes(range(256)) * 1000


def begin(database: Database, held: Held, doer: Doer, **more: object) -> uploads.Upload:
    token = uploads.begin(database, held, b"a.txt", len(DATA), doer=doer, now=NOW, **more)
    with database.read() as connection:
        return uploads.find(connection, token, doer.person_id)


def test_an_upload_goes_on_where_the_disk_says(
    database: Database, holding: Hold, doer: Doer
) -> None:
    """Written in two goes; the second must name the right offset."""
    held = holding()
    one = begin(
        database, held, doer, mtime_ns=10**18, wanted_hash=f"blake3:{blake3(DATA).hexdigest()}"
    )
    with uploads.writing(held.share, one, 0) as part:
        part.write(DATA[:1000])
    assert uploads.offset(held.share, one) == 1000
    with pytest.raises(FileChanged), uploads.writing(held.share, one, 0):
        pass
    with uploads.writing(held.share, one, 1000) as part:
        with pytest.raises(UploadBusy), uploads.writing(held.share, one, 1000):
            pass
        part.write(DATA[1000:])
        with pytest.raises(InvalidInput):
            part.write(b"x")
    made = uploads.finish(database, held, one, doer=doer, now=NOW)
    assert made.size == len(DATA)
    assert (held.share.folder / "a.txt").read_bytes() == DATA
    assert (held.share.folder / "a.txt").stat().st_mtime_ns == 10**18
    with pytest.raises(UploadGone):
        uploads.offset(held.share, one)


def test_a_damaged_upload_is_not_kept(database: Database, holding: Hold, doer: Doer) -> None:
    """Its hash says so; nothing of it stays."""
    held = holding()
    one = begin(database, held, doer, wanted_hash="blake3:" + "0" * 64)
    with uploads.writing(held.share, one, 0) as part:
        part.write(DATA)
    with pytest.raises(UploadDamaged):
        uploads.finish(database, held, one, doer=doer, now=NOW)
    assert not (held.share.folder / "a.txt").exists()
    assert list((held.share.folder / ".armoire" / "parts").iterdir()) == []


def test_an_upload_is_its_persons_own(database: Database, holding: Hold, doer: Doer) -> None:
    """Another person's token opens nothing."""
    token = uploads.begin(database, holding(), b"a", 1, doer=doer, now=NOW)
    with database.read() as connection, pytest.raises(UploadGone):
        uploads.find(connection, token, PersonId(doer.person_id + 1))
    with database.read() as connection, pytest.raises(UploadGone):
        uploads.find(connection, token + "x", doer.person_id)


def test_what_can_be_refused_is_refused_at_the_beginning(
    database: Database, holding: Hold, doer: Doer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 2 GB were sent in vain."""
    held = holding()
    (held.share.folder / "a.txt").write_bytes(b"")
    with pytest.raises(NameTaken):
        begin(database, held, doer)
    with pytest.raises(NotAllowed):
        begin(database, holding(*(ALL - {Right.ADD})), doer)
    with pytest.raises(NotAllowed):
        begin(database, holding(*(ALL - {Right.CHANGE})), doer, replaces=True)
    with pytest.raises(InvalidInput):
        begin(database, held, doer, replaces=True, wanted_hash="md5:00")
    monkeypatch.setattr(actions, "FREE_FLOOR", 1 << 60)
    with pytest.raises(ShareFull):
        begin(database, held, doer, replaces=True)


def test_a_name_taken_meanwhile_is_answered_by_another_name(
    database: Database, holding: Hold, doer: Doer
) -> None:
    """The bytes were not sent in vain."""
    held = holding()
    one = begin(database, held, doer)
    with uploads.writing(held.share, one, 0) as part:
        part.write(DATA)
    (held.share.folder / "a.txt").write_bytes(b"another's")
    with pytest.raises(NameTaken):
        uploads.finish(database, held, one, doer=doer, now=NOW)
    uploads.rename(database, one, b"b.txt", replaces=False)
    with database.read() as connection:
        row = connection.execute(uploads.select(uploads.upload)).one()
    uploads.finish(database, held, uploads.from_row(row), doer=doer, now=NOW)
    assert (held.share.folder / "b.txt").read_bytes() == DATA
    assert (held.share.folder / "a.txt").read_bytes() == b"another's"


def test_forgotten_uploads_go_after_a_week(database: Database, holding: Hold, doer: Doer) -> None:
    """And parts nobody knows, when they are as old."""
    held = holding()
    one = begin(database, held, doer)
    stray = bins.own_folder(held.share, bins.PARTS) / "stray"
    stray.write_bytes(b"x")
    young = bins.own_folder(held.share, bins.PARTS) / "young"
    young.write_bytes(b"x")
    # A copy keeps the time of what it copies: old, while it is being made.
    os.utime(young, ((NOW - timedelta(days=800)).timestamp(),) * 2)
    assert uploads.settle(database, held.share, now=NOW) == 0
    assert uploads.offset(held.share, one) == 0
    later = max(NOW, utc_now()) + timedelta(days=8)
    assert uploads.settle(database, held.share, now=later) == 3
    assert not stray.exists()
    assert not young.exists()
    with pytest.raises(UploadGone):
        uploads.offset(held.share, one)


# --- many in one ----------------------------------------------------------------------------


def head(path: bytes, content: bytes, **more: object) -> dict[str, object]:
    return {"path": urlsafe_b64encode(path).decode().rstrip("="), "size": len(content), **more}


@settings(max_examples=30)
@given(seed=st.integers(0, 1 << 30))
def test_a_batch_arrives_however_it_is_cut(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Pieces of one byte or of many files: the same files."""
    rng = random.Random(seed)
    files = [
        (b"f%d/%d.bin" % (n % 3, n), rng.randbytes(rng.choice([0, 1, 10, 5000]))) for n in range(8)
    ]
    body = pack([(head(path, content), content) for path, content in files])
    root = tmp_path_factory.mktemp("share")
    from appliance.db.shares import Share, ShareId

    share = Share(ShareId(1), "s", "S", root, None, False, False, False, 30, None, 0, NOW)
    seen: list[tuple[bytes, bytes]] = []
    with Batch(Held(share, ALL), b"in") as batch:
        while body:
            cut = rng.choice([1, 3, 100, 10_000])
            batch.feed(body[:cut])
            body = body[cut:]
        seen += [(one.path, place.read_bytes()) for one, place, _ in batch._whole]
    assert seen == [(b"in/" + path, content) for path, content in files]
    assert list((root / ".armoire" / "parts").iterdir()) == []


def test_each_file_of_a_batch_has_its_own_answer(
    database: Database, holding: Hold, doer: Doer
) -> None:
    """A taken name, a bad name, a damaged one: the others arrive, folders are made."""
    held = holding()
    (held.share.folder / "taken.txt").write_bytes(b"old")
    body = pack(
        [
            (head(b"new/deep/a.txt", b"one"), b"one"),
            (head(b"taken.txt", b"two"), b"two"),
            (head(b"con", b"x"), b"x"),
            (head(b"../out", b"x"), b"x"),
            (head(b"bad.txt", b"x", hash="blake3:" + "0" * 64), b"x"),
            (head(b"good.txt", b"x", hash="blake3:" + blake3(b"x").hexdigest()), b"x"),
        ]
    )
    with Batch(held, b"") as batch:
        batch.feed(body)
        outcomes = batch.finish(database, doer=doer, now=NOW)
    assert [type(each.error).__name__ for each in outcomes] == [
        "NoneType",
        "NameTaken",
        "InvalidInput",
        "InvalidInput",
        "UploadDamaged",
        "NoneType",
    ]
    root = held.share.folder
    assert (root / "new" / "deep" / "a.txt").read_bytes() == b"one"
    assert (root / "taken.txt").read_bytes() == b"old"
    assert (root / "new").stat().st_mode & 0o070 == 0o070
    assert list((root / ".armoire" / "parts").iterdir()) == []


def test_a_batch_cut_in_the_middle_leaves_nothing(
    database: Database, holding: Hold, doer: Doer
) -> None:
    """No file of it takes its name, not even the whole ones: the browser sends it again."""
    held = holding()
    body = pack([(head(b"a", b"1"), b"1"), (head(b"b", b"22"), b"22")])
    with pytest.raises(InvalidInput), Batch(held, b"") as batch:
        batch.feed(body[:-1])
        batch.finish(database, doer=doer, now=NOW)
    assert sorted(os.listdir(held.share.folder)) == [".armoire"]


@pytest.mark.parametrize(
    "body",
    [
        b"\0\0\0\0",
        b"\xff\xff\xff\xff" + b"x" * 100,
        b"\0\0\0\x02[]",
        b'\0\0\0\x0b{"path":1}..',
        pack([({"path": "YQ", "size": -1}, b"")]),
        pack([({"path": "YQ", "size": 1 << 40}, b"")]),
        pack([({"path": "YQ", "size": "1"}, b"1")]),
        pack([({"path": "YQ", "size": True}, b"1")]),
        pack([({"path": "é", "size": 1}, b"1")]),
    ],
)
def test_what_is_no_batch_is_refused(holding: Hold, body: bytes) -> None:
    """With an answer, not with a guess."""
    with pytest.raises(InvalidInput), Batch(holding(), b"") as batch:
        batch.feed(body)


def test_a_full_disk_is_said_and_leaves_no_part(
    database: Database, holding: Hold, doer: Doer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first byte when the size is known, and when the disk fills up on the way."""
    held = holding()
    body = pack([(head(b"a", b"1" * 1000), b"1" * 1000)])

    def full(_descriptor: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr("appliance.disk.batch.os.write", full)
        with pytest.raises(OSError, match="full"), Batch(held, b"") as batch:
            batch.feed(body)
    with monkeypatch.context() as patch:
        patch.setattr(actions, "FREE_FLOOR", 1 << 60)
        with pytest.raises(ShareFull), Batch(held, b"") as batch:
            batch.feed(body)
    assert list((held.share.folder / ".armoire" / "parts").iterdir()) == []
