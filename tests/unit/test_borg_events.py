"""Real lines of Borg 1.4.5, recorded, become typed events."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup_jobs.borg_events import (
    ArchiveProgress,
    FileStatus,
    LogMessage,
    Percent,
    Unknown,
    parse_line,
)

RECORDINGS = Path(__file__).parent / "recordings"


def events(name):
    return [parse_line(line) for line in (RECORDINGS / name).read_text().splitlines()]


def test_every_item_of_a_night_is_named_with_its_status():
    """A added, U unchanged, M modified, d folder, s link, h hard link, f pipe."""
    first = [e for e in events("borg-1.4.5-create.stderr") if isinstance(e, FileStatus)]
    second = [e for e in events("borg-1.4.5-create_warned.stderr") if isinstance(e, FileStatus)]

    assert sorted(e.status for e in first) == ["A", "A", "A", "A", "d", "d", "f", "h", "s"]
    assert {e.path: e.status for e in second}["src/big.bin"] == "M"
    assert FileStatus("U", "src/Éa/deux é.txt") in second


def test_a_file_that_is_not_there_is_a_grave_message_with_its_stable_id():
    """The message names the file: only id and level may be logged."""
    grave = [
        e
        for e in events("borg-1.4.5-create_warned.stderr")
        if isinstance(e, LogMessage) and e.is_grave
    ]

    assert [(e.level, e.msgid) for e in grave] == [("WARNING", "BackupFileNotFoundError")]


@pytest.mark.parametrize(
    ("recording", "msgid"),
    [
        ("borg-1.4.5-wrong_passphrase.stderr", "PassphraseWrong"),
        ("borg-1.4.5-missing.stderr", "Repository.DoesNotExist"),
        ("borg-1.4.5-empty_folder.stderr", "Repository.InvalidRepository"),
    ],
)
def test_refusals_carry_their_id(recording, msgid):
    """An empty folder is «no repository», another thing than an empty repository."""
    assert msgid in {e.msgid for e in events(recording) if isinstance(e, LogMessage)}


def test_progress_is_understood():
    """Both of an archive being made and of a check."""
    created = [e for e in events("borg-1.4.5-create.stderr") if isinstance(e, ArchiveProgress)]
    checked = [e for e in events("borg-1.4.5-check.stderr") if isinstance(e, Percent)]

    assert created[-1].finished
    assert checked[0].what == "repository.check"
    assert checked[0].total >= checked[0].current == 1
    assert checked[-1].finished


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("borg-*.stderr")), ids=lambda p: p.stem)
def test_nothing_borg_said_is_lost(path):
    """Only «progress_message», which we do not use, may stay unknown."""
    unknown = [e for e in events(path.name) if isinstance(e, Unknown)]

    assert all('"progress_message"' in e.text for e in unknown)


@given(st.text() | st.text().map(lambda tail: '{"type":' + tail))
def test_no_line_however_odd_raises(line):
    """A reader that dies would let Borg block on a full pipe."""
    parse_line(line)


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        '{"type": "file_status"}',
        '{"type": "file_status", "status": null, "path": 3}',
        '{"type": "progress_percent", "operation": "x"}',
        '{"type": []}',
        "Traceback (most recent call last):",
    ],
)
def test_half_a_line_is_kept_as_it_came(line):
    """What is not understood is shown as unknown, or with what it had; never an exception."""
    assert parse_line(line) is not None
