"""The SFTP codec: what is built is read back, and nothing a server sends can do more than be refused."""

import random
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup_jobs import sftp_packets as packets
from appliance.backup_jobs.sftp_packets import Attributes, Malformed

READERS = (
    packets.read_extensions,
    packets.read_status,
    packets.read_handle,
    packets.read_names,
    packets.read_attributes,
    lambda body: packets.read_numbers(body, 4),
)

numbers32 = st.integers(0, 2**32 - 1)
attributes = st.builds(
    Attributes,
    size=st.none() | st.integers(0, 2**64 - 1),
    uid=st.none(),
    gid=st.none(),
    mode=st.none() | numbers32,
    atime=st.none(),
    mtime=st.none(),
) | st.builds(
    Attributes,
    size=st.integers(0, 2**64 - 1),
    uid=numbers32,
    gid=numbers32,
    mode=numbers32,
    atime=numbers32,
    mtime=numbers32,
)


def sent(found: Attributes) -> bytes:
    """Attributes as a server sends them."""
    flags = 0
    body = b""
    if found.size is not None:
        flags |= 1
        body += struct.pack(">Q", found.size)
    if found.uid is not None:
        flags |= 2
        body += struct.pack(">II", found.uid, found.gid)
    if found.mode is not None:
        flags |= 4
        body += struct.pack(">I", found.mode)
    if found.atime is not None:
        flags |= 8
        body += struct.pack(">II", found.atime, found.mtime)
    return struct.pack(">I", flags) + body


def frame(kind: int, request: int, body: bytes) -> bytes:
    """A packet as a server sends it."""
    return struct.pack(">IBI", 5 + len(body), kind, request) + body


@given(
    st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=99), attributes), max_size=20)
)
def test_names_are_read_as_they_were_sent(entries):
    """Names of any bytes and attributes of any kind come out unchanged."""
    body = struct.pack(">I", len(entries)) + b"".join(
        packets.string(name) + packets.string(long) + sent(found) for name, long, found in entries
    )
    assert [tuple(each) for each in packets.read_names(body)] == entries


@given(attributes)
def test_attributes_are_read_as_they_were_sent(found):
    """Whatever subset of them a server sends."""
    assert packets.read_attributes(sent(found)) == found


@given(
    st.lists(
        st.tuples(
            st.sampled_from([packets.STATUS, packets.HANDLE, packets.NAME, packets.ATTRS]),
            numbers32,
            st.binary(max_size=200),
        ),
        max_size=10,
    ),
    st.lists(st.integers(1, 40), min_size=1, max_size=30),
)
def test_packets_are_cut_the_same_however_the_bytes_arrive(wanted, steps):
    """One byte at a time or all at once: the same packets in the same order."""
    stream = b"".join(frame(*each) for each in wanted)
    splitter = packets.Splitter()
    found = []
    at = 0
    while at < len(stream):
        step = steps[at % len(steps)]
        found += splitter.feed(stream[at : at + step])
        at += step
    assert found == wanted


@given(st.binary(max_size=500), st.integers(1, 60))
def test_data_arrives_whole_however_it_is_cut(payload, step):
    """The fast road for file contents loses and adds nothing."""
    stream = frame(packets.DATA, 7, packets.string(payload)) * 3
    splitter = packets.Splitter()
    found = []
    for at in range(0, len(stream), step):
        found += splitter.feed(stream[at : at + step])
    assert found == [(packets.DATA, 7, payload)] * 3


@given(st.binary(max_size=2_000))
def test_no_bytes_do_more_than_be_refused(noise):
    """Every reader answers, or says Malformed: no other exception, no endless loop."""
    for reader in READERS:
        with suppress(Malformed):
            reader(noise)
    splitter = packets.Splitter()
    try:
        for kind, request, body in splitter.feed(noise):
            assert 0 <= kind < 256
            assert 0 <= request < 2**32
            assert len(body) <= len(noise)
    except Malformed:
        pass


def test_a_hundred_thousand_damaged_packets_are_read_or_refused():
    """A bounded fuzz run: real packets with bytes flipped, cut and doubled."""
    rng = random.Random(20261123)
    entry = packets.string(b"lettre.pdf") + packets.string(b"-rw-r--r-- 1 a b 1 Jan 1 lettre.pdf")
    whole = sent(Attributes(1, 2, 3, 0o100644, 5, 6))
    bodies = [
        struct.pack(">I", 3) + (entry + whole) * 3,
        whole,
        struct.pack(">I", 0x8000000F)
        + whole[4:]
        + struct.pack(">I", 1)
        + packets.string(b"a@b")
        + packets.string(b"c"),
        packets.string(b"handle"),
        struct.pack(">I", 4) + packets.string(b"Failure") + packets.string(b"en"),
        packets.string(b"limits@openssh.com") + packets.string(b"1"),
    ]
    read = refused = 0
    for _ in range(25_000):
        body = bytearray(rng.choice(bodies))
        for _ in range(rng.randrange(4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        if rng.random() < 0.3:
            del body[rng.randrange(len(body)) :]
        if rng.random() < 0.1:
            body = body * 2
        for reader in READERS:
            try:
                reader(bytes(body))
                read += 1
            except Malformed:
                refused += 1
    assert read > 10_000
    assert refused > 10_000


@pytest.mark.parametrize(
    "stream",
    [
        b"Welcome to this machine\r\n",
        b"\x00\x00\x00\x00\x65",
        b"\x00\x00\x00\x04\x65abc",
        b"\xff\xff\xff\xff\x65",
        frame(packets.DATA, 1, struct.pack(">I", 100) + b"short"),
        frame(packets.DATA, 1, struct.pack(">I", 2) + b"too long"),
        frame(packets.DATA, 1, b"\x00\x00"),
    ],
)
def test_impossible_packets_are_refused(stream):
    """A greeting, no length, too short, too long, data that lies about its length."""
    with pytest.raises(Malformed):
        packets.Splitter().feed(stream)


def test_a_count_larger_than_the_packet_is_refused_before_anything_is_made():
    """Four billion names in twelve bytes: refused without trying."""
    with pytest.raises(Malformed):
        packets.read_names(struct.pack(">I", 2**32 - 1) + bytes(12))


def test_an_error_never_repeats_what_was_received():
    """A name of a patient in a broken packet must not come out in a text."""
    secret = b"DUPONT Jeanne"
    with pytest.raises(Malformed) as raised:
        packets.read_names(struct.pack(">I", 1) + packets.string(secret) + b"\0\0\0\xff")
    assert "DUPONT" not in str(raised.value)


def test_requests_have_the_form_of_the_draft():
    """Byte for byte, for the requests that everything rests on."""
    assert packets.init() == bytes.fromhex("00000005 01 00000003")
    assert packets.read(7, b"h", 16, 32) == bytes.fromhex(
        "00000016 05 00000007 00000001 68 0000000000000010 00000020"
    )
    assert packets.with_string(packets.OPENDIR, 1, b"/a") == bytes.fromhex(
        "0000000b 0b 00000001 00000002 2f61"
    )
    assert packets.open_file(2, b"x", packets.FXF_READ) == bytes.fromhex(
        "00000012 03 00000002 00000001 78 00000001 00000000"
    )
