"""A machine pulled over a real OpenSSH server: byte for byte, and plain Borg agrees."""

import os
import stat
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.backup_jobs import sftp_packets as packets
from appliance.backup_jobs.sources import Stream
from appliance.backup_jobs.sources.pulled import PullOptions
from appliance.errors import (
    AlreadyExists,
    HostKeyChanged,
    HostKeyUnknown,
    JobCancelled,
    KeyRefused,
    MachineUnreachable,
    RecipeFailed,
    RootUnreadable,
    SftpUnavailable,
)
from appliance.model import EntryKind, ReadEventKind
from tests.support import trees
from tests.support.delay import DelayProxy
from tests.support.engine import Box, Context, endpoint_of, new_box
from tests.support.raw_sftp import RawServer, file, folder
from tests.support.raw_sftp import tree as tree_of
from tests.support.sshd import SshServer, free_port

pytestmark = pytest.mark.integration

LONG_AGO = 1_700_000_000
EXACT = PullOptions(default_excludes=False)


@pytest.fixture
def box(tmp_path) -> Box:
    return new_box(tmp_path)


def aged(path: Path, data: bytes, age: int = 0) -> Path:
    """A file that was last written a long time ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (LONG_AGO + age, LONG_AGO + age))
    return path


def stored(path: Path) -> bytes:
    return os.fsencode(path)[1:]


def test_plain_borg_lists_checks_restores_and_goes_on(box, sshd, tmp_path):
    """The contract: after our night plain `list`, `check`, `extract` and `create` are content."""
    tree = tmp_path / "tree"
    trees.make_odd_tree(tree / "odd")
    trees.make_small_tree(tree / "small")
    aged(tree / "big", os.urandom(9_000_000))
    aged(tree / "zeros", bytes(3_000_000))
    taken, _night = box.take(endpoint_of(sshd), (str(tree),), options=EXACT)
    box.check()
    assert taken.archive in box.borg("list", str(box.repository))
    # Plain Borg archives paths over PATH_MAX and cannot extract them, its own neither.
    restored = box.extract(taken.archive, "--exclude", "sh:**/deep/*") / str(tree)[1:]
    there, here = trees.snapshot_of_tree(tree), trees.snapshot_of_tree(restored)
    deep = {path for path in there if path.startswith(b"odd/deep/")}
    special = {path for path, seen in there.items() if seen.kind not in {"file", "folder", "link"}}
    assert len(deep) == 23
    assert set(here) == set(there) - deep - special
    for path, seen in here.items():
        other = there[path]
        assert (seen.kind, seen.mode, seen.size, seen.content) == (
            other.kind,
            other.mode,
            other.size,
            other.content,
        ), path
        assert seen.mtime_ns // 10**9 == other.mtime_ns // 10**9, path
    assert taken.event_counts[ReadEventKind.SKIPPED_SPECIAL] == len(special) == 2
    # What the server leaves out of its listing without a word is read in another way.
    bottom = next(path for path, seen in there.items() if path in deep and seen.kind == "file")
    assert len(bottom) > 4_095
    assert box.content(stored(tree) + b"/" + bottom) == b"deeper than PATH_MAX"
    assert {stored(tree) + b"/" + path for path in deep} <= set(box.entries())
    box.borg("create", f"{box.repository}::plain", ".", cwd=tree)
    box.borg("check", "--verify-data", str(box.repository))
    box.borg("delete", f"{box.repository}::plain")
    again, night = box.take(endpoint_of(sshd), (str(tree),), options=EXACT)
    assert (again.changed, again.vanished, night.put_, night.gone_) == (0, 0, {}, [])
    box.check()


def test_a_second_night_reads_only_what_changed(box, sshd, tmp_path):
    """Unchanged files are not opened; what is new, changed, renamed and gone is named."""
    tree = tmp_path / "tree"
    for number in range(30):
        aged(tree / f"{number % 3}" / f"{number}", b"%d" % number * 1000)
    machine = endpoint_of(sshd)
    first, night = box.take(machine, (str(tree),), options=EXACT)
    assert first.files_seen == first.changed == 30
    assert len(night.put_) == 34
    aged(tree / "0" / "0", b"other", age=1)
    aged(tree / "new", b"new")
    (tree / "1" / "1").rename(tree / "1" / "renamed")
    (tree / "2" / "2").unlink()
    (tree / "2" / "5").chmod(0o600)
    second, night = box.take(machine, (str(tree),), options=EXACT)
    assert second.files_seen == 30
    assert (second.changed, second.vanished) == (3, 2)
    files = {path for path, e in night.put_.items() if e.kind is EntryKind.FILE}
    assert files == {stored(tree / each) for each in ("0/0", "new", "1/renamed", "2/5")}
    assert sorted(night.gone_) == sorted(stored(tree / each) for each in ("1/1", "2/2"))
    assert second.new_bytes < first.new_bytes
    box.check()


def test_unchanged_files_are_never_opened(box):
    """Said by the machine: on the second night it is asked to open the changed file only."""
    nodes = {b"/data": folder(), **{b"/data/%d" % each: file(b"%d" % each) for each in range(12)}}
    first = RawServer(tree_of(nodes))
    box.take(first.session, ("/data",), options=EXACT)
    nodes[b"/data/3"] = file(b"changed", mtime=LONG_AGO + 5)
    second = RawServer(tree_of(nodes))
    box.take(second.session, ("/data",), options=EXACT)
    assert [path for kind, path in second.requests if kind == packets.OPEN] == [b"/data/3"]
    assert len([path for kind, path in first.requests if kind == packets.OPEN]) == 12


def test_a_file_as_young_as_the_last_night_is_read_again(box, sshd, tmp_path):
    """Within the racy window a change can hide behind the same size and the same second."""
    tree = tmp_path / "tree"
    young = aged(tree / "young", b"first")
    machine = endpoint_of(sshd)
    os.utime(young)
    box.take(machine, (str(tree),), options=EXACT)
    times = young.stat()
    young.write_bytes(b"secnd")
    os.utime(young, ns=(times.st_atime_ns, times.st_mtime_ns))
    second, night = box.take(machine, (str(tree),), options=EXACT)
    assert second.changed == 1
    assert stored(young) in night.put_
    assert box.content(stored(young)) == b"secnd"


def test_excludes_prune_and_mean_what_borg_means(box, sshd, tmp_path):
    """A pattern for a folder keeps the walk out of it; the system's own are added."""
    tree = tmp_path / "tree"
    for name in ("keep/a", "Cache/b", "deep/Cache/c", "x.tmp", "deep/y.tmp", "Thumbs.db"):
        aged(tree / name, b"x")
    taken, _night = box.take(
        endpoint_of(sshd),
        (str(tree),),
        excludes=("sh:**/Cache", "sh:**/*.tmp"),
        options=PullOptions(),
    )
    found = {path for path, e in box.entries().items() if e.kind is EntryKind.FILE}
    assert found == {stored(tree / "keep/a")}
    assert taken.files_seen == 1
    assert not taken.events


def test_roots_that_overlap_are_read_once_and_linked_ones_are_followed(box, sshd, tmp_path):
    """A root in another one adds nothing; a link as a root is followed; a second name stays a link."""
    tree, other = tmp_path / "tree", tmp_path / "other"
    aged(tree / "inner" / "a", b"a")
    aged(other / "b", b"b")
    (tmp_path / "linked").symlink_to(other)
    (tmp_path / "second").symlink_to(tree / "inner")
    single = aged(tmp_path / "single", b"one file as a root")
    roots = (
        tree / "inner",
        tree,
        tree,
        tmp_path / "linked",
        tmp_path / "second",
        single,
    )
    taken, _night = box.take(endpoint_of(sshd), tuple(map(str, roots)), options=EXACT)
    found = box.entries()
    assert taken.files_seen == 3
    assert {path for path, e in found.items() if e.kind is EntryKind.FILE} == {
        stored(tree / "inner" / "a"),
        stored(tmp_path / "linked" / "b"),
        stored(single),
    }
    assert found[stored(tmp_path / "second")].kind is EntryKind.LINK
    box.check()


def test_a_root_that_is_not_there_fails_before_anything_is_read(box, sshd, tmp_path):
    """An archive without it would look complete."""
    aged(tmp_path / "tree" / "a", b"a")
    with pytest.raises(RootUnreadable) as raised:
        box.take(endpoint_of(sshd), (str(tmp_path / "tree"), "/not/there"))
    assert raised.value.root == "/not/there"
    assert box.archives() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_rights_is_counted(box, sshd, tmp_path):
    """The rest is taken."""
    aged(tmp_path / "tree" / "locked" / "a", b"a")
    (tmp_path / "tree" / "locked").chmod(0)
    try:
        taken, _night = box.take(endpoint_of(sshd), (str(tmp_path / "tree"),), options=EXACT)
    finally:
        (tmp_path / "tree" / "locked").chmod(0o755)
    assert taken.event_counts == {ReadEventKind.UNREADABLE: 1}


def test_streams_go_into_the_archive_as_they_are_made(box, sshd, tmp_path):
    """A dump is a file of the snapshot; a failing one fails the run and leaves no archive."""
    aged(tmp_path / "tree" / "a", b"a")
    dump = os.urandom(3_000_000)

    def made():
        for at in range(0, len(dump), 70_000):
            yield dump[at : at + 70_000]

    def failing():
        yield b"half a dump"
        raise RecipeFailed("postgresql", "dump", "exit code 1")

    machine, roots = endpoint_of(sshd), (str(tmp_path / "tree"),)
    taken, night = box.take(machine, roots, streams=(Stream(b"dumps/base.dump", made),))
    assert taken.files_seen == 2
    assert box.content(b"dumps/base.dump") == dump
    assert b"dumps/base.dump" in night.put_
    box.check()
    with pytest.raises(RecipeFailed):
        box.take(machine, roots, streams=(Stream(b"dumps/base.dump", failing),))
    assert len(box.archives()) == 1
    box.check()


def test_a_root_read_at_another_place_is_stored_at_its_own(box, sshd, tmp_path):
    """A shadow copy is read, the original's paths are stored."""
    aged(tmp_path / "shadow" / "a", b"a")
    box.take(
        endpoint_of(sshd),
        (str(tmp_path / "shadow"),),
        stored_as={str(tmp_path / "shadow"): "/home"},
        options=EXACT,
    )
    assert set(box.entries()) == {b"home", b"home/a"}


def test_a_stopped_night_is_no_snapshot_and_the_next_goes_on(box, sshd, tmp_path):
    """A person's stop keeps what was read for the next run."""
    tree = tmp_path / "tree"
    for number in range(8):
        aged(tree / f"{number}", os.urandom(8_000_000))
    # A line slow enough that the stop comes in the middle, however fast this computer is.
    with DelayProxy(sshd.port, rate_bytes_s=16_000_000) as line, pytest.raises(JobCancelled):
        machine = endpoint_of(sshd, port=line.port)
        box.take(machine, (str(tree),), options=EXACT, context=Context(stop_after_reports=2))
    assert box.archives(checkpoints=False) == []
    taken, _night = box.take(endpoint_of(sshd), (str(tree),), options=EXACT)
    assert box.archives() == [taken.archive]
    box.check()


def test_progress_counts_bytes_and_files_up_to_the_end(box, sshd, tmp_path):
    """The second night knows how much to expect."""
    tree = tmp_path / "tree"
    for number in range(5):
        aged(tree / f"{number}", bytes(1_000_000))
    machine, context = endpoint_of(sshd), Context()
    box.take(machine, (str(tree),), options=EXACT)
    box.take(machine, (str(tree),), options=EXACT, context=context)
    done, total, files, step = context.reports[-1]
    assert (done, total, files, step) == (5_000_000, 5_000_000, 5, "saving")


def test_a_name_that_is_taken_is_refused(box, sshd, tmp_path):
    """No archive is written over another one."""
    aged(tmp_path / "tree" / "a", b"a")
    box.take(endpoint_of(sshd), (str(tmp_path / "tree"),))
    box.count = 0
    with pytest.raises(AlreadyExists):
        box.take(endpoint_of(sshd), (str(tmp_path / "tree"),))


def test_a_raw_copy_of_a_live_database_is_named(box, sshd, tmp_path):
    """It is kept, and the person is told that it may not start again."""
    aged(tmp_path / "tree" / "main" / "PG_VERSION", b"15\n")
    aged(tmp_path / "tree" / "main" / "base" / "1", b"x")
    taken, _night = box.take(endpoint_of(sshd), (str(tmp_path / "tree"),), options=EXACT)
    assert taken.event_counts == {ReadEventKind.LIVE_DATABASE: 1}
    assert taken.events[0].path == stored(tmp_path / "tree" / "main")


def test_every_way_a_machine_refuses_has_its_own_error(box, sshd, tmp_path):
    """Off, another identity, never confirmed, key not let in, no SFTP: a person must do different things."""
    (tmp_path / "tree").mkdir()
    roots = (str(tmp_path / "tree"),)
    point = endpoint_of(sshd)

    def altered(**changes):
        from dataclasses import replace

        return replace(point, **changes)

    with pytest.raises(MachineUnreachable):
        box.take(altered(port=free_port()), roots)
    with pytest.raises(HostKeyUnknown):
        box.take(altered(host_key=None), roots)
    sshd.revoke_all()
    with pytest.raises(KeyRefused):
        box.take(point, roots)
    old = sshd.host_key
    sshd.replace_host_key()
    with pytest.raises(HostKeyChanged) as raised:
        box.take(point, roots)
    assert raised.value.expected != raised.value.found
    assert old != sshd.host_key
    with SshServer(sftp=None) as bare:
        with pytest.raises(SftpUnavailable):
            box.take(endpoint_of(bare), roots)
    assert box.archives() == []


def test_a_folder_too_deep_for_sftp_is_said_where_no_command_may_run(box, tmp_path):
    """An account that may do nothing but SFTP: its listing lies, so a warning stands for what it hides."""
    tree = tmp_path / "tree"
    tree.mkdir()
    with opened_folder(tree) as at:
        trees.make_deep_folder(at)
    with SshServer(config="ForceCommand internal-sftp") as machine:
        taken, _night = box.take(endpoint_of(machine), (str(tree),), options=EXACT)
    assert taken.event_counts == {ReadEventKind.UNREADABLE: 1}
    box.check()


@contextmanager
def opened_folder(path: Path):
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_modes_owners_and_times_are_kept(box, sshd, tmp_path):
    """As far as SFTP tells them: permissions, numbers and names of owners, whole seconds."""
    path = aged(tmp_path / "tree" / "a", b"a")
    path.chmod(0o640)
    box.take(endpoint_of(sshd), (str(tmp_path / "tree"),), options=EXACT)
    entry = box.entries()[stored(path)]
    status = path.stat()
    assert entry.mode == stat.S_IFREG | 0o640
    assert (entry.uid, entry.gid) == (status.st_uid, status.st_gid)
    assert entry.owner in {path.owner(), None}
    assert entry.mtime_ns == LONG_AGO * 10**9
