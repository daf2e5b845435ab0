"""What a pushed archive says about itself is not believed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup_jobs.borg_library import ArchiveInfo
from appliance.backup_jobs.sources.pushed import _Seen, dated
from appliance.errors import RepositoryMissing
from appliance.jobs.pushed import new_pushes, push_state
from appliance.model import Entry, EntryKind, ReadEventKind

NOW = datetime(2026, 11, 23, 20, tzinfo=UTC)
SPANS = st.timedeltas(timedelta(days=-4000), timedelta(days=4000))


def said(at: datetime) -> ArchiveInfo:
    return ArchiveInfo("3-x", "0" * 64, at, "")


@given(SPANS, st.none() | SPANS.filter(lambda span: span < timedelta(0)))
def test_a_pushed_snapshot_is_never_dated_in_the_future_or_before_the_last(span, before):
    """Dates decide what is kept: a machine must not choose them freely."""
    previous = None if before is None else NOW + before

    at = dated(said(NOW + span), previous, NOW)

    assert at <= NOW
    assert previous is None or at > previous


def test_an_honest_date_is_kept():
    """The push of last night, read this morning; also by a clock a minute fast."""
    assert dated(said(NOW - timedelta(hours=10)), NOW - timedelta(days=1), NOW) == NOW - timedelta(
        hours=10
    )
    assert dated(said(NOW + timedelta(minutes=1)), None, NOW) == NOW


def test_a_push_is_seen_without_opening_the_repository(tmp_path):
    """A going one is waited for; a repository that went back is looked at; an empty folder is no repository."""
    with pytest.raises(RepositoryMissing):
        push_state(tmp_path)
    with pytest.raises(RepositoryMissing):
        new_pushes(tmp_path / "nowhere", None)
    for name in ("config", "index.5", "index.12", "hints.12", "index.x", "README"):
        (tmp_path / name).touch()

    assert push_state(tmp_path).transaction == 12
    assert new_pushes(tmp_path, None)
    assert not new_pushes(tmp_path, 12)
    assert new_pushes(tmp_path, 13)
    (tmp_path / "lock.exclusive").mkdir()
    assert not new_pushes(tmp_path, None)


@pytest.mark.parametrize("path", [b"../etc/passwd", b"a/../../b", b"/etc", b"a//b", b"a\0b", b""])
def test_an_odd_path_in_a_pushed_archive_is_told(path):
    """It is listed, because the archive holds it; and a person sees that it is there."""

    class Quiet:
        def check(self) -> None: ...

    seen = _Seen(Quiet())
    entries = [
        Entry(path, EntryKind.FILE, 1, 0, 0o600),
        Entry(b"a/..b", EntryKind.FILE, 1, 0, 0o600),
    ]

    assert list(seen.all_of(iter(entries))) == entries
    assert seen.counts == {ReadEventKind.NAME_REFUSED: 1}
    assert (seen.items, seen.files, seen.bytes) == (2, 2, 2)
