"""What a person does to files: asked for, done in one step, written down, and never over something."""

import json
import os
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.schema import ledger
from appliance.disk import actions, arriving, listing
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.disk.actions import Doer
from appliance.errors import (
    FileChanged,
    FileMissing,
    InvalidInput,
    NameTaken,
    NotAFile,
    NotAFolder,
    NotAllowed,
    NotFound,
    ShareFull,
)
from appliance.policy.share_rights import ALL, Right
from tests.unit.disk.conftest import NOW

Hold = Callable[..., Held]


def events_of(database: Database) -> list[tuple[str, bytes]]:
    with database.read() as connection:
        rows = connection.execute(select(ledger.c.event, ledger.c.body)).all()
    return [
        (row.event, urlsafe_b64decode(json.loads(row.body)["path"] + "=="))
        for row in rows
        if "path" in json.loads(row.body)
    ]


def part(held: Held, content: bytes) -> Path:
    made = bins.own_folder(held.share, bins.PARTS) / "part"
    made.write_bytes(content)
    return made


def test_each_right_is_asked_for(database: Database, holding: Hold, doer: Doer) -> None:
    """With every right but the one that is needed nothing happens."""
    root = holding().share.folder
    (root / "a.txt").write_bytes(b"a")
    (root / "folder").mkdir()

    def without(right: Right) -> Held:
        return holding(*(ALL - {right}))

    asked = {"doer": doer, "now": NOW}
    with pytest.raises(NotAllowed):
        actions.make_folder(database, without(Right.ADD), b"new", **asked)
    with pytest.raises(NotAllowed):
        actions.move(database, without(Right.CHANGE), b"a.txt", holding(), b"b.txt", **asked)
    with pytest.raises(NotAllowed):
        actions.copy(database, without(Right.SEE), b"a.txt", holding(), b"b.txt", **asked)
    with pytest.raises(NotAllowed):
        actions.copy(database, holding(), b"a.txt", without(Right.ADD), b"b.txt", **asked)
    with pytest.raises(NotAllowed):
        actions.delete(database, without(Right.DELETE), b"a.txt", **asked)
    with pytest.raises(NotAllowed):
        arriving.take_in(database, without(Right.ADD), b"b.txt", part(holding(), b"x"), **asked)
    with pytest.raises(NotAllowed):
        arriving.take_in(
            database, without(Right.CHANGE), b"a.txt", part(holding(), b"x"), replaces=True, **asked
        )
    assert sorted(each.name for each in root.iterdir()) == [".armoire", "a.txt", "folder"]
    assert (root / "a.txt").read_bytes() == b"a"


def test_what_one_may_not_open_is_not_moved_to_where_one_may(
    database: Database, holding: Hold, doer: Doer, tmp_path: Path
) -> None:
    """To another share one brings what one may see, delete here and add there: all three are asked for."""
    root = holding().share.folder
    (root / "a.txt").write_bytes(b"a")
    (tmp_path / "other").mkdir()
    with database.write() as connection:
        other = shares.add(
            connection, name="other", label="Other", folder=tmp_path / "other", now=NOW
        )
    for right in (Right.SEE, Right.DELETE):
        with pytest.raises(NotAllowed):
            actions.move(
                database,
                holding(*(ALL - {right})),
                b"a.txt",
                Held(other, ALL),
                b"a.txt",
                doer=doer,
                now=NOW,
            )
    with pytest.raises(NotAllowed):
        actions.move(
            database,
            holding(),
            b"a.txt",
            Held(other, ALL - {Right.ADD}),
            b"a.txt",
            doer=doer,
            now=NOW,
        )
    assert (root / "a.txt").exists()
    actions.move(database, holding(), b"a.txt", Held(other, ALL), b"a.txt", doer=doer, now=NOW)
    assert (tmp_path / "other" / "a.txt").read_bytes() == b"a"


def test_a_folder_is_renamed_and_never_over_another(
    database: Database, holding: Hold, doer: Doer
) -> None:
    """A taken name is said, and both are as they were."""
    root = holding().share.folder
    (root / "a" / "deep").mkdir(parents=True)
    (root / "b").mkdir()
    with pytest.raises(NameTaken):
        actions.move(database, holding(), b"a", holding(), b"b", doer=doer, now=NOW)
    actions.move(database, holding(), b"a", holding(), b"b/c", doer=doer, now=NOW)
    assert (root / "b" / "c" / "deep").is_dir()
    with pytest.raises(NotAFolder):
        actions.move(database, holding(), b"b", holding(), b"b/c/b", doer=doer, now=NOW)
    with pytest.raises(FileMissing):
        actions.move(database, holding(), b"a", holding(), b"d", doer=doer, now=NOW)
    assert events_of(database) == [("file.moved", b"a")]


def test_a_copy_is_whole_and_leaves_links_out(
    database: Database, holding: Hold, doer: Doer
) -> None:
    """Times stay; a link to elsewhere does not travel."""
    root = holding().share.folder
    (root / "a" / "in").mkdir(parents=True)
    (root / "a" / "in" / "x.txt").write_bytes(b"x" * 100_000)
    (root / "a" / "out").symlink_to("/etc/passwd")
    os.utime(root / "a" / "in" / "x.txt", ns=(10**18, 10**18 + 5))
    actions.copy(database, holding(), b"a", holding(), b"b", doer=doer, now=NOW)
    assert (root / "b" / "in" / "x.txt").read_bytes() == b"x" * 100_000
    assert (root / "b" / "in" / "x.txt").stat().st_mtime_ns == 10**18 + 5
    assert not os.path.lexists(root / "b" / "out")
    assert list((root / ".armoire" / "parts").iterdir()) == []
    with pytest.raises(NameTaken):
        actions.copy(database, holding(), b"a", holding(), b"b", doer=doer, now=NOW)
    with pytest.raises(NotAFile):
        actions.copy(database, holding(), b"a/out", holding(), b"c", doer=doer, now=NOW)
    assert list((root / ".armoire" / "parts").iterdir()) == []


def test_a_copy_too_large_for_the_disk_changes_nothing(
    database: Database, holding: Hold, doer: Doer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said before the first byte."""
    root = holding().share.folder
    (root / "a").write_bytes(b"x" * 1000)
    monkeypatch.setattr(actions, "FREE_FLOOR", 1 << 60)
    with pytest.raises(ShareFull):
        actions.copy(database, holding(), b"a", holding(), b"b", doer=doer, now=NOW)
    assert not (root / "b").exists()


def test_what_was_deleted_comes_back_where_it_was(
    database: Database, holding: Hold, doer: Doer
) -> None:
    """Its folder too, when that is gone; beside, when the name is taken."""
    root = holding().share.folder
    (root / "letters").mkdir()
    (root / "letters" / "a.txt").write_bytes(b"one")
    first = actions.delete(database, holding(), b"letters/a.txt", doer=doer, now=NOW)
    (root / "letters").rmdir()
    assert actions.put_back(database, holding(), first.id, doer=doer, now=NOW) == b"letters/a.txt"
    assert (root / "letters" / "a.txt").read_bytes() == b"one"
    second = actions.delete(database, holding(), b"letters/a.txt", doer=doer, now=NOW)
    (root / "letters" / "a.txt").write_bytes(b"two")
    again = actions.put_back(database, holding(), second.id, doer=doer, now=NOW)
    assert again == b"letters/a (2).txt"
    assert (root / "letters" / "a (2).txt").read_bytes() == b"one"
    with pytest.raises(NotFound):
        actions.put_back(database, holding(), second.id, doer=doer, now=NOW)


def test_the_bin_keeps_its_days(database: Database, holding: Hold, doer: Doer) -> None:
    """30 days, then gone; never when the clock says that it was deleted tomorrow."""
    held = holding()
    (held.share.folder / "a").mkdir()
    (held.share.folder / "a" / "x").write_bytes(b"12345")
    item = actions.delete(database, held, b"a", doer=doer, now=NOW)
    assert (item.size, item.files, item.kind) == (5, 1, "folder")
    day = timedelta(days=1)
    assert bins.settle(database, held.share, now=NOW - day) == 0
    assert bins.settle(database, held.share, now=NOW + 29 * day) == 0
    with database.read() as connection:
        assert [each.id for each in bins.items(connection, held.share.id)] == [item.id]
    assert bins.settle(database, held.share, now=NOW + 30 * day) == 1
    assert list((held.share.folder / ".armoire" / "bin").iterdir()) == []


def test_a_replaced_file_is_in_the_bin(database: Database, holding: Hold, doer: Doer) -> None:
    """Nothing is written over; an etag of another content refuses."""
    held = holding()
    root = held.share.folder
    (root / "a.txt").write_bytes(b"old")
    with pytest.raises(NameTaken):
        arriving.take_in(database, held, b"a.txt", part(held, b"new"), doer=doer, now=NOW)
    with pytest.raises(FileChanged):
        arriving.take_in(
            database,
            held,
            b"a.txt",
            part(held, b"new"),
            doer=doer,
            now=NOW,
            replaces=True,
            expected="1-2-3",
        )
    assert (root / "a.txt").read_bytes() == b"old"
    known = listing.entry(root, b"a.txt").etag
    made = arriving.take_in(
        database,
        held,
        b"a.txt",
        part(held, b"new!"),
        doer=doer,
        now=NOW,
        replaces=True,
        expected=known,
    )
    assert (root / "a.txt").read_bytes() == b"new!"
    assert made.size == 4
    assert (root / "a.txt").stat().st_mode & 0o777 == 0o660
    with database.read() as connection:
        (item,) = bins.items(connection, held.share.id)
    assert actions.put_back(database, held, item.id, doer=doer, now=NOW) == b"a (2).txt"
    assert (root / "a (2).txt").read_bytes() == b"old"


def test_a_folder_is_never_replaced_by_a_file(
    database: Database, holding: Hold, doer: Doer
) -> None:
    """Whatever was said about replacing."""
    held = holding()
    (held.share.folder / "a").mkdir()
    with pytest.raises(NameTaken):
        arriving.take_in(database, held, b"a", part(held, b"x"), doer=doer, now=NOW, replaces=True)
    assert (held.share.folder / "a").is_dir()


@pytest.mark.parametrize("path", [b"a/../b", b".armoire/bin/x", b"con", b""])
def test_a_name_that_may_not_be_given_changes_nothing(
    database: Database, holding: Hold, doer: Doer, path: bytes
) -> None:
    """By making, moving, copying or uploading."""
    held = holding()
    (held.share.folder / "a").mkdir()
    asked = {"doer": doer, "now": NOW}
    with pytest.raises(InvalidInput):
        actions.make_folder(database, held, path, **asked)
    with pytest.raises(InvalidInput):
        actions.move(database, held, b"a", held, path, **asked)
    with pytest.raises(InvalidInput):
        actions.copy(database, held, b"a", held, path, **asked)
    with pytest.raises(InvalidInput):
        arriving.take_in(database, held, path, part(held, b"x"), **asked)
    assert (held.share.folder / "a").is_dir()
