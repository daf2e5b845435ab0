"""A machine that lies: nothing it sends ends the box, hides a file without a word, or grows memory."""

import stat
import struct
from itertools import count

import pytest

from appliance.backup_jobs import sftp_packets as packets
from appliance.backup_jobs.sftp_walk import Limits
from appliance.backup_jobs.sources.pulled import PullOptions
from appliance.errors import ConnectionLost, ProtocolViolation, RootUnreadable, SftpUnavailable
from appliance.model import EntryKind, ReadEventKind
from tests.support.engine import Box, new_box
from tests.support.raw_sftp import Node, RawServer, file, folder, garbage, tree

pytestmark = [pytest.mark.integration, pytest.mark.fault]

ROOT = ("/data",)


@pytest.fixture
def box(tmp_path) -> Box:
    return new_box(tmp_path)


def served(nodes: dict[bytes, Node], **more) -> RawServer:
    return RawServer(tree({b"/data": folder(), **nodes}), **more)


def test_an_honest_tree_is_taken_whole(box):
    """The fake server is a good one when it does not lie: what follows tests the lies."""
    nodes = {
        b"/data/a": file(b"alpha"),
        b"/data/folder": folder(),
        b"/data/folder/big": file(bytes(range(256)) * 5_000),
        b"/data/folder/empty": file(b""),
        b"/data/link": Node(stat.S_IFLNK | 0o777, 5, target=b"folder"),
    }
    taken, _night = box.take(served(nodes).session, ROOT)
    assert taken.files_seen == 3
    assert not taken.events
    assert box.content(b"data/folder/big") == bytes(range(256)) * 5_000
    assert box.entries()[b"data/link"].target == b"folder"
    box.check()


@pytest.mark.parametrize("name", [b"../../etc/passwd", b"a/b", b"nul\0byte", b"", b"n" * 5_000])
def test_names_no_file_can_have_are_refused_and_counted(box, name):
    """Neither a way up, nor a folder in a name, nor a NUL, nor 5,000 bytes."""

    def names():
        yield name, file(b"evil")
        yield b"good", file(b"good")

    find = tree({b"/data": folder(names=names), b"/data/good": file(b"good")})
    taken, _night = box.take(RawServer(find).session, ROOT)
    assert taken.event_counts == {ReadEventKind.NAME_REFUSED: 1}
    assert set(box.entries()) == {b"data", b"data/good"}
    assert all(name[:20] not in event.path for event in taken.events) or not name
    box.check()


def test_dots_are_no_names_and_a_newline_is(box):
    """«.» and «..» come with every listing; a newline is legal on Linux."""
    nodes = {b"/data/line 1\nline 2": file(b"x")}

    def names():
        yield b".", folder()
        yield b"..", folder()
        yield b"line 1\nline 2", nodes[b"/data/line 1\nline 2"]

    find = tree({b"/data": folder(names=names), **nodes})
    taken, _night = box.take(RawServer(find).session, ROOT)
    assert not taken.events
    assert set(box.entries()) == {b"data", b"data/line 1\nline 2"}
    box.check()


def test_a_name_that_comes_twice_is_taken_once(box):
    """Also when the two are far apart in a folder that is sorted in runs."""

    def names():
        for number in range(20_500):
            yield b"%06d" % number, link
        yield b"000007", link

    link = Node(stat.S_IFLNK | 0o777, 1, target=b"x")
    find = lambda path: folder(names=names) if path == b"/data" else link  # noqa: E731
    taken, _night = box.take(RawServer(find, per_listing=1000).session, ROOT)
    assert taken.event_counts == {ReadEventKind.NAME_REFUSED: 1}
    assert taken.items == 20_501
    again, night = box.take(RawServer(find, per_listing=1000).session, ROOT)
    assert again.event_counts == {ReadEventKind.NAME_REFUSED: 1}
    assert not night.put_
    assert not night.gone_


def test_folders_in_folders_without_end_are_a_loop(box):
    """The walk stops at a depth no person makes, and says where."""

    def find(path):
        return folder(names=lambda: iter([(b"again", folder())]))

    options = PullOptions(default_excludes=False, limits=Limits(depth=40))
    taken, _night = box.take(RawServer(find).session, ROOT, options=options)
    assert taken.event_counts == {ReadEventKind.LOOP: 1}
    assert taken.items == 41
    box.check()


def test_a_folder_without_end_is_cut_off(box):
    """What was listed until then is kept, the rest is said to be missing."""

    def endless():
        for number in count():
            yield b"%09d" % number, Node(stat.S_IFLNK | 0o777, 1, target=b"x")

    find = lambda path: (  # noqa: E731
        folder(names=endless) if path == b"/data" else Node(stat.S_IFLNK | 0o777, target=b"x")
    )
    options = PullOptions(default_excludes=False, limits=Limits(folder_entries=5_000))
    taken, _night = box.take(RawServer(find).session, ROOT, options=options)
    assert taken.event_counts == {ReadEventKind.LOOP: 1}
    assert 4_900 <= taken.items <= 5_200
    box.check()


def test_a_tree_without_end_ends_the_run(box):
    """Beyond every limit nothing is kept: this is no machine of a practice."""

    def find(path):
        return folder(names=lambda: iter([(b"%d" % each, folder()) for each in range(9)]))

    options = PullOptions(default_excludes=False, limits=Limits(entries=500))
    with pytest.raises(ProtocolViolation):
        box.take(RawServer(find).session, ROOT, options=options)
    assert box.archives() == []


def test_a_file_that_grows_for_ever_is_read_as_far_as_it_was_announced(box):
    """Its beginning is kept, an event says so, and the run ends."""
    grown = file(b"x" * 10)
    grown.read = lambda offset, length: b"y" * length  # never an end
    grown.after = Node(grown.mode, 5_000_000)
    taken, _night = box.take(served({b"/data/log": grown}).session, ROOT)
    assert taken.event_counts == {ReadEventKind.CHANGED_WHILE_READ: 1}
    assert len(box.content(b"data/log")) == 5_000_000  # announced the second time
    assert taken.changed == 1


def test_a_file_that_outgrows_every_announcement_is_called_too_large(box):
    """Ten times as large each time it is looked at."""
    grown = Node(stat.S_IFREG | 0o644, 10, read=lambda offset, length: b"y" * length)
    grown.after = Node(grown.mode, 40)
    sizes = iter([40, 900_000_000])

    def bend(kind, request, reply):
        if kind == packets.FSTAT:
            grown.after = Node(grown.mode, next(sizes))
            return server.reply_to_fstat(request, grown.after)
        return reply

    server = served({b"/data/log": grown}, bend=bend)
    server.reply_to_fstat = lambda request, node: packets.packed(
        packets.ATTRS,
        request,
        struct.pack(">IQIIIII", 15, node.size, 0, 0, node.mode, node.mtime, node.mtime),
    )
    taken, _night = box.take(server.session, ROOT)
    assert taken.event_counts == {ReadEventKind.TOO_LARGE: 1}
    assert box.content(b"data/log") == b"y" * 40


def test_a_size_no_disk_has_is_not_begun(box):
    """An announcement of 2^60 bytes: skipped, named, the rest goes on."""
    huge = Node(stat.S_IFREG | 0o644, 2**60, read=lambda offset, length: b"z" * length)
    taken, _night = box.take(
        served({b"/data/huge": huge, b"/data/small": file(b"s")}).session, ROOT
    )
    assert taken.event_counts == {ReadEventKind.TOO_LARGE: 1}
    assert set(box.entries()) == {b"data", b"data/small"}


@pytest.mark.parametrize(("announced", "real"), [(100, 10), (3_000_000, 1_000_000), (5, 0)])
def test_a_file_shorter_than_announced_is_kept_as_it_is_and_said(box, announced, real):
    """The server lies about the size, consistently: an event, and the bytes that there are."""
    data = b"d" * real
    short = Node(
        stat.S_IFREG | 0o644, announced, read=lambda offset, length: data[offset : offset + length]
    )
    taken, _night = box.take(served({b"/data/short": short}).session, ROOT)
    assert taken.event_counts == {ReadEventKind.CHANGED_WHILE_READ: 1}
    assert box.content(b"data/short") == data
    box.check()


@pytest.mark.parametrize("piece", [1_000, 32 * 1024 - 1])
def test_a_server_that_answers_less_than_asked_is_asked_again(box, piece):
    """The draft allows short answers: no byte is lost, nothing is taken for an end."""
    data = bytes(range(256)) * (800 if piece < 10_000 else 8_000)
    slow = file(data)
    slow.read = lambda offset, length: data[offset : offset + min(length, piece)]
    taken, _night = box.take(served({b"/data/slow": slow}).session, ROOT)
    assert not taken.events
    assert box.content(b"data/slow") == data


def test_answers_in_another_order_make_the_same_file(box):
    """A server may answer what it likes first."""
    data = bytes(range(256)) * 20_000
    held: list[bytes] = []

    def bend(kind, request, reply):
        if kind == packets.READ and len(held) < 3 and reply[4] == packets.DATA:
            held.append(reply)
            return None
        turned = b"".join([reply, *reversed(held)])
        held.clear()
        return turned

    taken, _night = box.take(
        RawServer(
            tree({b"/data": folder(), b"/data/big": file(data)}),
            bend=bend,
        ).session,
        ROOT,
    )
    assert not taken.events
    assert box.content(b"data/big") == data


def test_a_server_that_knows_no_fstat_still_serves(box):
    """Nothing to compare with afterwards: no event is made up."""

    def bend(kind, request, reply):
        if kind == packets.FSTAT:
            return packets.packed(
                packets.STATUS, request, (8).to_bytes(4, "big"), bytes(4), bytes(4)
            )
        return reply

    taken, _night = box.take(served({b"/data/a": file(b"alpha")}, bend=bend).session, ROOT)
    assert not taken.events
    assert box.content(b"data/a") == b"alpha"


@pytest.mark.parametrize("asked", [packets.OPEN, packets.READ, packets.READDIR, packets.FSTAT])
@pytest.mark.parametrize("lie", ["another kind", "another number", "cut short", "noise", "silence"])
def test_broken_answers_end_the_run_and_nothing_of_it_is_kept(box, asked, lie):
    """An answer of another kind, to nobody's question, too short, or no answer at all."""

    def bend(kind, request, reply):
        if kind != asked:
            return reply
        return {
            "another kind": packets.packed(packets.EXTENDED_REPLY, request, bytes(8)),
            "another number": packets.packed(packets.STATUS, request + 99_999, bytes(12)),
            "cut short": packets.packed(reply[4], request, bytes(2)),
            "noise": b"\x7fELF" + bytes(60),
            "silence": None,
        }[lie]

    server = served({b"/data/a": file(b"alpha")}, bend=bend)
    expected = ConnectionLost if lie == "silence" else ProtocolViolation
    if lie == "silence":
        # The line is up and nothing comes: the pipeline gives up by itself.
        from appliance.backup_jobs import sftp_pipeline

        original = sftp_pipeline.Pipeline.__init__

        def impatient(self, transport, **_more):
            original(self, transport, stall_s=0.3)

        sftp_pipeline.Pipeline.__init__ = impatient
        try:
            with pytest.raises(expected):
                box.take(server.session, ROOT)
        finally:
            sftp_pipeline.Pipeline.__init__ = original
        return
    with pytest.raises(expected):
        box.take(server.session, ROOT)
    assert box.archives() == []


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (b"Welcome!\r\nLast login: yesterday\r\n", ProtocolViolation),
        (struct.pack(">IBI", 5, 2, 4), SftpUnavailable),
        (struct.pack(">IBI", 5, 101, 0), ProtocolViolation),
        (b"", ConnectionLost),
        (struct.pack(">IBI", 9, 2, 3) + b"\0\0\xff\xff", ProtocolViolation),
    ],
)
def test_a_session_that_does_not_begin_is_said_as_such(noise, expected):
    """A greeting of a shell, another version, an answer before the question, an end, nonsense."""
    with garbage(noise) as pipeline:
        with pytest.raises(expected):
            pipeline.handshake()


def test_what_cannot_be_opened_is_counted_and_the_rest_is_taken(box):
    """A file and a folder without rights, one that vanished, a socket, a device."""
    nodes = {
        b"/data/closed": Node(stat.S_IFREG | 0o600, 5, refused=packets.PERMISSION_DENIED),
        b"/data/vanished": Node(stat.S_IFREG | 0o600, 5, refused=packets.NO_SUCH_FILE),
        b"/data/locked": folder(refused=packets.PERMISSION_DENIED),
        b"/data/socket": Node(stat.S_IFSOCK | 0o600),
        b"/data/device": Node(stat.S_IFBLK | 0o600),
        b"/data/kept": file(b"kept"),
    }
    taken, _night = box.take(served(nodes).session, ROOT)
    assert taken.event_counts == {
        ReadEventKind.UNREADABLE: 2,
        ReadEventKind.VANISHED: 1,
        ReadEventKind.SKIPPED_SPECIAL: 2,
    }
    assert {path for path, e in box.entries().items() if e.kind is EntryKind.FILE} == {b"data/kept"}
    assert taken.files_seen == 3
    box.check()


def test_a_disk_that_returns_errors_in_the_middle_loses_one_file(box):
    """The others are read; the broken one is named, and gone from the next list if it was there."""
    bad = file(bytes(3_000_000))
    good = bad.read
    bad.read = lambda offset, length: good(offset, length)
    nodes = {b"/data/bad": bad, b"/data/good": file(b"good")}
    box.take(served(nodes).session, ROOT)

    def bend(kind, request, reply):
        if kind == packets.READ and broken and reply[4] == packets.DATA and len(reply) > 1_000:
            return packets.packed(
                packets.STATUS, request, packets.FAILURE.to_bytes(4, "big"), bytes(4), bytes(4)
            )
        return reply

    broken = True
    bad.mtime += 1
    taken, night = box.take(served(nodes, bend=bend).session, ROOT)
    assert taken.event_counts == {ReadEventKind.UNREADABLE: 1}
    assert night.gone_ == [b"data/bad"]
    assert set(box.entries()) == {b"data", b"data/good"}
    box.check()


@pytest.mark.parametrize("code", [packets.NO_SUCH_FILE, packets.PERMISSION_DENIED])
def test_a_root_that_cannot_be_read_fails_the_run(box, code):
    """Never an archive without it."""
    nodes = {b"/data": folder(), b"/data/a": file(b"a"), b"/other": folder(refused=code)}
    with pytest.raises(RootUnreadable) as raised:
        box.take(RawServer(tree(nodes)).session, ("/data", "/other"))
    assert raised.value.root == "/other"
    assert "/other" not in str(raised.value)
    assert box.archives() == []


def test_many_files_in_flight_stay_under_what_a_server_allows(box):
    """At most as many files and folders open at once as a server without limits is trusted with."""
    nodes = {b"/data": folder()}
    for number in range(400):
        nodes[b"/data/%03d" % number] = file(b"%d" % number * 100)
    server = RawServer(tree(nodes))
    taken, _night = box.take(server.session, ROOT)
    assert taken.files_seen == 400
    assert server.most_open <= 80
