"""Whether a TXT record is public: one question to a name server (RFC 1035), in fifty lines instead of a library."""

import re
import secrets
import socket
import struct
from pathlib import Path
from typing import Final

_TXT: Final = 16
_IN: Final = 1
_TRUNCATED: Final = 0x0200
TIMEOUT_S: Final = 5.0
_CONFIG: Final = Path("/etc/resolv.conf")


def txt_values(name: str, resolver: str = "") -> set[str]:
    """Return the values of the TXT records of ``name``, behind aliases too; none found and no answer are alike.

    Args:
        name: in ASCII.
        resolver: ``address`` or ``address:port`` of the name server; empty: those of the system, one after another.
    """
    for address in [_address(resolver)] if resolver else _of_the_system():
        try:
            return _ask(name, address)
        except (OSError, ValueError, struct.error, IndexError):
            continue
    return set()


def _ask(name: str, address: tuple[str, int]) -> set[str]:
    number = secrets.randbelow(1 << 16)
    question = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0)
    for label in name.rstrip(".").split("."):
        raw = label.encode("ascii")
        question += bytes([len(raw)]) + raw
    question += b"\0" + struct.pack(">HH", _TXT, _IN)
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as line:
        line.settimeout(TIMEOUT_S)
        line.connect(address)
        line.send(question)
        answer = line.recv(65_535)
    if struct.unpack_from(">H", answer, 2)[0] & _TRUNCATED:
        with socket.create_connection(address, timeout=TIMEOUT_S) as line:
            line.sendall(struct.pack(">H", len(question)) + question)
            with line.makefile("rb") as stream:
                answer = stream.read(struct.unpack(">H", stream.read(2))[0])
    return _values(answer, number)


def _values(answer: bytes, number: int) -> set[str]:
    got, _flags, questions, answers = struct.unpack_from(">HHHH", answer)
    if got != number:
        raise ValueError("an answer to another question")
    place = 12
    for _ in range(questions):
        place = _behind_name(answer, place) + 4
    found: set[str] = set()
    for _ in range(answers):
        place = _behind_name(answer, place)
        kind, _class, _ttl, length = struct.unpack_from(">HHIH", answer, place)
        place += 10
        if kind == _TXT:
            parts, at = [], place
            while at < place + length:
                parts.append(answer[at + 1 : at + 1 + answer[at]])
                at += 1 + answer[at]
            found.add(b"".join(parts).decode("ascii", "replace"))
        place += length
    return found


def _behind_name(answer: bytes, place: int) -> int:
    while True:
        length = answer[place]
        if length >= 0xC0:  # a pointer ends a name
            return place + 2
        place += 1 + length
        if not length:
            return place


def _address(text: str) -> tuple[str, int]:
    found = re.fullmatch(
        r"\[?([0-9a-fA-F:]+:[0-9a-fA-F:]*|[0-9.]+)\]?(?::(\d{1,5}))?", text.strip()
    )
    if found is None:
        return text.strip(), 53
    return found[1], int(found[2] or 53)


def _of_the_system() -> list[tuple[str, int]]:
    try:
        lines = _CONFIG.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [
        (each[1].partition("%")[0], 53)
        for each in words
        if len(each) > 1 and each[0] == "nameserver"
    ]
