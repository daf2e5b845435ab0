"""The client of the reader's socket against workers that fail, lie or go away."""

import asyncio
import json
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.catalogue import reader_client
from appliance.catalogue.reader_client import open_file, open_file_async
from appliance.catalogue.reader_protocol import (
    Header,
    Malformed,
    Request,
    address,
    pack_error,
    parse_error,
    parse_header,
    parse_request,
)
from appliance.errors import (
    ArmoireError,
    RepositoryDamaged,
    WorkerUnreachable,
    WouldOverwrite,
    all_errors,
)
from appliance.model import SnapshotId, SourceId
from appliance.settings import Settings

HEADER = Header(10, -5, 0, 10).pack()


def frame(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


@contextmanager
def a_worker(settings: Settings, answer: bytes, *, stays_open: float = 0.0):
    """Answers whatever is asked with ``answer``, then closes."""
    settings.run.mkdir(parents=True, exist_ok=True)
    channel = socket.socket(socket.AF_UNIX)
    with address(settings.reader_socket) as place:
        channel.bind(place)
    channel.listen()

    def serve() -> None:
        client, _ = channel.accept()
        with client:
            client.recv(65536)
            client.sendall(answer)
            time.sleep(stays_open)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        channel.close()


def read(settings: Settings, how: str) -> bytes:
    async def read_async() -> bytes:
        file = await open_file_async(settings, SourceId(1), SnapshotId(2), b"x")
        return b"".join([block async for block in file.blocks])

    if how == "async":
        return asyncio.run(read_async())
    with open_file(settings, SourceId(1), SnapshotId(2), b"x") as file:
        return b"".join(file.blocks)


@pytest.mark.parametrize("how", ["blocking", "async"])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        HEADER[:3],
        HEADER,
        HEADER + frame(b"12345"),
        HEADER + frame(b"12345") + frame(b""),  # says «end», but five bytes are missing
        HEADER + struct.pack(">I", 2_000_000) + b"x",
        HEADER + struct.pack(">I", 0xFFFFFFFF),
        HEADER + struct.pack(">I", 0xFFFFFFFF) + frame(b"[]"),
        struct.pack(">I", 2**31),
        frame(b"{}"),
        frame(b"hello"),
        frame(b'{"status":"ok","size":-1,"mtime_ns":0,"offset":0,"length":1}'),
    ],
    ids=lambda answer: str(len(answer)),
)
def test_half_an_answer_is_never_taken_for_a_whole_file(settings, how, answer):
    """A worker that dies in the middle is an error, not a shorter radiograph."""
    with (
        a_worker(settings, answer),
        pytest.raises(WorkerUnreachable),
    ):
        read(settings, how)


@pytest.mark.parametrize("how", ["blocking", "async"])
def test_a_damage_in_the_middle_reaches_the_person_as_what_it_is(settings, how):
    """The page can say which disk to look at."""
    error = RepositoryDamaged("repositories/1", "stored bytes were altered")
    answer = HEADER + frame(b"12345") + struct.pack(">I", 0xFFFFFFFF) + pack_error(error)
    with a_worker(settings, answer), pytest.raises(RepositoryDamaged) as raised:
        read(settings, how)
    assert raised.value.facts == error.facts


@pytest.mark.parametrize("how", ["blocking", "async"])
def test_a_whole_answer_is_the_file(settings, how):
    """Blocks of any length make it."""
    with a_worker(settings, HEADER + frame(b"123") + frame(b"4567890") + frame(b"")):
        assert read(settings, how) == b"1234567890"


@pytest.mark.parametrize("how", ["blocking", "async"])
def test_a_worker_that_says_nothing_is_waited_for_but_not_for_ever(settings, how, monkeypatch):
    """The page does not hang."""
    monkeypatch.setattr(reader_client, "PATIENCE_S", 0.2)
    with a_worker(settings, b"", stays_open=0.5), pytest.raises(WorkerUnreachable):
        read(settings, how)


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_comes_through_the_socket_as_its_class(kind):
    """What the worker knows, the person reads."""
    from dataclasses import fields

    made = kind(**{each.name: f"<{each.name}>" for each in fields(kind)})
    again = parse_error(pack_error(made)[4:])
    assert type(again) is kind
    assert again.facts == made.facts


def test_an_error_of_a_newer_worker_is_still_an_error():
    """After an update, web and worker may differ for a minute."""
    for values in (
        {"status": "error", "code": "backup.not-yet-invented", "facts": {}},
        {"status": "error", "code": WouldOverwrite.code, "facts": {"other": 1}},
    ):
        assert type(parse_error(json.dumps(values).encode())) is ArmoireError


@given(
    st.integers(0, 2**62), st.integers(0, 2**62), st.binary(), st.integers(0, 2**62),
    st.none() | st.integers(0, 2**62),
)  # fmt: skip
def test_a_request_is_read_as_it_was_meant(source, snapshot, path, offset, length):
    """Any path's bytes pass, UTF-8 or not."""
    request = Request(SourceId(source), SnapshotId(snapshot), path, offset, length)
    assert parse_request(request.pack()[4:]) == request


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
_fields = st.sampled_from(
    ["version", "source", "snapshot", "path", "offset", "length", "status", "facts", "code", "size"]
)


@given(
    st.binary(max_size=60)
    | st.dictionaries(_fields, _json | st.just(1)).map(lambda values: json.dumps(values).encode())
)
def test_what_is_no_message_is_malformed_and_nothing_else(body):
    """No byte a stranger sends ends a thread with another error."""
    for parse in (parse_request, parse_header, parse_error):
        with suppress(Malformed, ArmoireError):
            parse(body)


def test_a_socket_deep_in_folders_can_be_reached(tmp_path):
    """Unix sockets take 107 bytes of path; a data folder may lie deeper."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    settings = Settings(data=deep)
    with a_worker(settings, HEADER + frame(b"1234567890") + frame(b"")):
        assert read(settings, "blocking") == b"1234567890"
