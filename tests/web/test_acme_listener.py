"""The door a certificate authority knocks at: reachable from everywhere when it must be, and never in the way."""

import socket
import threading
import time
from dataclasses import replace

import pytest

from appliance.web import acme_listener
from appliance.web.acme_listener import PREFIX, AcmeListener, listen
from tests.support.sshd import free_port


@pytest.fixture
def door(settings):
    """A listener of a box that is reached from elsewhere, with one answer."""
    made = listen(replace(settings, listen_address="0.0.0.0", acme_http_port=free_port()))
    made.answers = {"token": "token.thumb"}
    yield made
    made.end()


def said(port: int, words: bytes, host: str = "127.0.0.1") -> bytes:
    with socket.create_connection((host, port), timeout=20) as line:
        line.sendall(words)
        whole = b""
        while part := line.recv(4096):
            whole += part
        return whole


def asked(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a.fr\r\n\r\n".encode()


def test_it_answers_by_both_protocols_of_the_internet(door):
    """An authority may come by either."""
    port = door.server_port
    for host in ("127.0.0.1", "::1") if door.address_family is socket.AF_INET6 else ("127.0.0.1",):
        answer = said(port, asked(PREFIX + "token"), host)
        assert answer.startswith(b"HTTP/1.0 200")
        assert answer.endswith(b"\r\n\r\ntoken.thumb")
        assert b"server:" not in answer.lower(), "nobody is told what runs here"


@pytest.mark.parametrize(
    "words",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",  # somebody tries TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 500 + b"\r\n",
        b"CONNECT a.fr:443 HTTP/1.1\r\n\r\n",
        b"GET http://a.fr" + PREFIX.encode() + b"token HTTP/1.1\r\n\r\n",
    ],
    ids=[
        "nonsense",
        "verb alone",
        "TLS",
        "future",
        "long",
        "many headers",
        "proxy",
        "whole address",
    ],
)
def test_whatever_else_is_said_is_not_there(door, words):
    """No page of errors, no name of a program, and it goes on afterwards."""
    try:
        answer = said(door.server_port, words)
    except ConnectionError:
        answer = b""
    assert b"200" not in answer[:15]
    assert b"<html" not in answer
    assert b"Python" not in answer
    assert b"token.thumb" not in answer
    assert said(door.server_port, asked(PREFIX + "token")).endswith(b"token.thumb")


def test_a_crowd_that_says_nothing_is_turned_away_and_leaves_room_again(settings, monkeypatch):
    """So many at once and no more: the web interface has other things to do."""
    monkeypatch.setattr(acme_listener, "AT_ONCE", 3)
    monkeypatch.setattr(acme_listener._Visit, "timeout", 2)
    before = threading.active_count()
    door = AcmeListener(("127.0.0.1", 0), socket.AF_INET)
    door.answers = {"token": "token.thumb"}
    crowd = [socket.create_connection(("127.0.0.1", door.server_port), 20) for _ in range(12)]
    try:
        time.sleep(0.2)
        assert threading.active_count() <= before + 1 + 3
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = said(door.server_port, asked(PREFIX + "token"))
            except ConnectionError:
                answer = b""
            if answer.endswith(b"token.thumb"):
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        for line in crowd:
            line.close()
        door.end()
    with pytest.raises(OSError):
        said(door.server_port, asked("/"))
