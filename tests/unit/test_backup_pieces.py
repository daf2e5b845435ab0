"""The pure pieces of the nights: comments, comparisons, safe names, what a check named."""

from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup_jobs import registry
from appliance.backup_jobs.archive_comment import ArchiveComment, read_comment
from appliance.backup_jobs.borg import BorgRun
from appliance.backup_jobs.borg_events import LogMessage, parse_line
from appliance.backup_jobs.check_repository import found_in
from appliance.backup_jobs.restore_places import CannotPlace, LocalPlace, safe_parts
from appliance.backup_jobs.source_files import State, is_still, same_bytes
from appliance.jobs.kinds import KINDS
from appliance.model import Consistency, Entry, EntryKind, JobId, SnapshotId
from appliance.replication import registry as copies
from appliance.worker import wiring

RECORDINGS = Path(__file__).parent / "recordings"


def test_every_kind_of_job_has_somebody_who_does_it():
    """A kind that is queued and that nobody does would fail every night."""
    assert set(wiring.runs()) == set(KINDS)
    assert not set(registry.RUN) & set(copies.runs(wiring.tools()))
    for spec, module in registry._MODULES.items():
        assert callable(import_module(f"appliance.backup_jobs.{module}").run), spec.kind


@given(st.integers(1, 2**40), st.integers(1, 2**40), st.sampled_from(Consistency))
def test_a_comment_is_read_as_it_was_written(run, snapshot, consistency):
    """What an archive says about its making survives the way through Borg."""
    comment = ArchiveComment(JobId(run), SnapshotId(snapshot), consistency)

    assert read_comment(comment.text()) == comment


@pytest.mark.parametrize(
    "text",
    ["", "my own archive", "{}", "[]", "null", '{"run": 1}', '{"run": "x", "snapshot": 1}', "7"],
)
def test_a_comment_of_somebody_else_is_nobodys(text):
    """Such an archive is left alone."""
    assert read_comment(text) is None


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)), st.lists(st.integers(0, 200)))
def test_the_same_bytes_are_the_same_however_they_are_cut(data, one, other):
    """Chunks of the repository and blocks of the source never line up."""
    assert same_bytes(_cut(data, one), _cut(data, other))


@given(st.binary(max_size=50), st.binary(max_size=50), st.lists(st.integers(0, 50)))
def test_other_bytes_are_never_the_same(left, right, cuts):
    """Also when one of them only ends earlier."""
    assert same_bytes(_cut(left, cuts), iter([right])) == (left == right)


def _cut(data, places):
    last = 0
    for place in sorted(places):
        if last <= place <= len(data):
            yield data[last:place]
            last = place
    yield data[last:]


ENTRY = Entry(b"a", EntryKind.FILE, 5, 1_700_000_000_123_456_789, 0o100644)


@pytest.mark.parametrize(
    ("state", "whole_seconds", "still"),
    [
        (State(5, 1_700_000_000_123_456_789), False, True),
        (State(5, 1_700_000_000_000_000_000), False, False),
        (State(5, 1_700_000_000_000_000_000), True, True),
        (State(5, 1_700_000_001_000_000_000), True, False),
        (State(6, 1_700_000_000_123_456_789), False, False),
        (None, True, False),
    ],
)
def test_a_file_is_the_same_only_with_its_size_and_time(state, whole_seconds, still):
    """SFTP knows whole seconds; the box's own disk knows better."""
    assert is_still(ENTRY, state, whole_seconds=whole_seconds) is still


@given(st.lists(st.sampled_from([b"a", b"..", b".", b"", b"x\0", b"a\\b", b"C:"]), max_size=5))
def test_a_stored_path_never_leads_out_of_its_place(tmp_path_factory, names):
    """Either every name is an ordinary one, or the path is refused."""
    path = b"/".join(names)
    try:
        parts = safe_parts(path)
    except CannotPlace:
        assert set(names) & {b"..", b".", b"", b"x\0"}
        return
    assert b"/".join(parts) == path
    base = tmp_path_factory.mktemp("base")
    LocalPlace(base, replace=False, keep_owner=False).make_folder(parts)
    assert all(each.resolve().is_relative_to(base) for each in base.rglob("*"))


def run_of(recording):
    lines = (RECORDINGS / recording).read_text().splitlines()
    grave = [e for e in map(parse_line, lines) if isinstance(e, LogMessage) and e.is_grave]
    return BorgRun(1 if grave else 0, "", tuple(grave), len(grave))


def test_a_check_without_damage_names_nothing():
    """Nothing grave was said."""
    found = found_in(run_of("borg-1.4.5-check.stderr"))

    assert (found.is_damaged, found.segments, found.chunks) == (False, frozenset(), frozenset())


@pytest.mark.parametrize(
    "recording", ["borg-1.4.5-check_damaged.stderr", "borg-1.4.5-check_slice_damaged.stderr"]
)
def test_a_check_of_segments_names_the_segment(recording):
    """Whole or a slice: the number of the damaged segment is found in Borg's words."""
    found = found_in(run_of(recording))

    assert found.is_damaged
    assert found.segments == {2}


def test_a_check_of_data_names_the_chunk():
    """So that the files that hold it can be named."""
    found = found_in(run_of("borg-1.4.5-check_data_damaged.stderr"))

    assert {each.hex()[:8] for each in found.chunks} == {"db2858aa"}
