"""Samba's audit lines become entries of the ledger."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk.smb_audit import Follower, Line, parse
from appliance.ledger import chain
from appliance.model import Person
from appliance.packed import unpack_path

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TOP = Path("/s/docs")
MARK = "5f:"
WHO = ("anne.martin", "192.168.1.9", "documents")


@pytest.mark.parametrize(
    ("rest", "event", "path", "to_path"),
    [
        (b"create_file|ok|0x120089|file|open|/s/docs/a/b.txt", "file.opened", b"a/b.txt", None),
        (b"create_file|ok|0x12019f|file|overwrite_if|/s/docs/n.txt", "file.added", b"n.txt", None),
        (b"unlinkat|ok|/s/docs/a|b.txt", "file.deleted", b"a|b.txt", None),
        (b"mkdirat|ok|/s/docs/d", "folder.made", b"d", None),
        (b"renameat|ok|/s/docs/a|x|/s/docs/b", "file.moved", b"a|x", b"b"),
        (b"connect|ok|documents", "smb.connected", b"", None),
        (b"connect|fail (Permission denied)|documents", "smb.refused", b"", None),
    ],
)
def test_what_a_person_would_ask_for_is_read(
    rest: bytes, event: str, path: bytes, to_path: bytes | None
):
    """As Samba 4.17 writes it; a name may hold the sign between fields."""
    found = parse("|".join(WHO).encode() + b"|" + rest, {"documents": TOP})

    assert found == Line(event, *WHO, path, to_path, is_refused=event == "smb.refused")


@pytest.mark.parametrize(
    "rest",
    [
        b"create_file|ok|0x80|file|open|/s/docs/a.txt",  # attributes only
        b"create_file|ok|0x10000|file|open|/s/docs/a.txt",  # about to delete
        b"create_file|ok|0x81|dir|open|/s/docs",
        b"create_file|ok|0x120089|file|open|/s/docs/.armoire/bin/x",
        b"create_file|ok|0x120089|file|open|/s/docs/a.txt:AFP_AfpInfo",
        b"create_file|ok|0x120089|file|open|/elsewhere/a.txt",
        b"unlinkat|fail (No such file)|/s/docs/a.txt",
        b"create_file|ok|nothing|file|open|/s/docs/a.txt",
        b"something|ok|/s/docs/a",
        b"",
    ],
)
def test_what_says_nothing_is_passed_over(rest: bytes):
    """Looking at properties is not opening; ours and other places are no documents."""
    assert parse("|".join(WHO).encode() + b"|" + rest, {"documents": TOP}) is None
    assert parse(b"anne|1|other|unlinkat|ok|/s/docs/a", {"documents": TOP}) is None


def entries(database: Database, event: str) -> list[bytes]:
    with database.read() as connection:
        found = chain.newest(connection, event=event)
    return [unpack_path(str(each.body["path"])) for each in reversed(found)]


def test_nothing_is_lost_when_samba_begins_a_new_file(
    database: Database, share: Share, doctor: Person, tmp_path: Path
):
    """The one put aside is read to its end, then the new one; half a line waits for its end."""
    log = tmp_path / "audit.log"

    def write(*names: str, end: bytes = b"\n") -> None:
        with log.open("ab") as file:
            for name in names:
                line = f"{MARK}anne.martin|1|documents|unlinkat|ok|{share.folder}/{name}"
                file.write(line.encode() + end)

    def turn() -> int:
        return Follower(database, log).turn([share], [doctor], mark=MARK, now=NOW)

    assert turn() == 0
    write("1", "2")
    assert turn() == 2
    write("3")
    log.rename(tmp_path / "audit.log.old")
    write("4")
    assert (turn(), turn(), turn()) == (1, 1, 0)
    write("5", end=b"")
    assert turn() == 0
    with log.open("ab") as file:
        file.write(b"\n")
    assert turn() == 1
    assert entries(database, "file.deleted") == [b"1", b"2", b"3", b"4", b"5"]
    with database.read() as connection:
        assert chain.newest(connection, event="file.deleted")[0].actor == f"person:{doctor.id}"


def test_opening_ten_times_in_a_minute_is_said_once(
    database: Database, share: Share, doctor: Person, tmp_path: Path
):
    """As a preview does; after the minute it is said again."""
    log = tmp_path / "audit.log"
    follower = Follower(database, log)
    line = f"{MARK}anne.martin|1|documents|create_file|ok|0x1|file|open|{share.folder}/a\n".encode()
    log.write_bytes(line * 10)
    assert follower.turn([share], [doctor], mark=MARK, now=NOW) == 1
    with log.open("ab") as file:
        file.write(line)
    assert follower.turn([share], [doctor], mark=MARK, now=NOW + timedelta(seconds=61)) == 1


def test_a_link_in_the_place_of_the_log_is_not_followed(
    database: Database, share: Share, doctor: Person, tmp_path: Path
):
    """What is read there goes into the ledger."""
    (tmp_path / "other").write_bytes(b"5f:anne.martin|1|documents|connect|ok|documents\n")
    os.symlink(tmp_path / "other", tmp_path / "audit.log")

    assert (
        Follower(database, tmp_path / "audit.log").turn([share], [doctor], mark=MARK, now=NOW) == 0
    )


def test_a_name_with_a_line_end_forges_nothing(
    database: Database, share: Share, doctor: Person, tmp_path: Path
):
    """What follows the line end lacks the mark, which stands in no name."""
    log = tmp_path / "audit.log"
    forged = f"anne.martin|1|documents|unlinkat|ok|{share.folder}/forged"
    log.write_text(
        f"{MARK}anne.martin|1|documents|create_file|ok|0x1|file|open|{share.folder}/a\n{forged}\n"
    )

    assert Follower(database, log).turn([share], [doctor], mark=MARK, now=NOW) == 1
    assert entries(database, "file.deleted") == []
