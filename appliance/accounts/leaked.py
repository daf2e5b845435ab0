"""Known passwords, on the box: none is ever asked about over the network.

Two lists: the words of ``leaked.txt``, of which nearly every known password is made, and, when somebody put one
there, ``leaked-passwords.txt`` of the data folder: lines ``SHA1[:count]`` in capitals and in order, as «Pwned
Passwords» offers them, however large (it is searched, not read). docs/decisions/0180.
"""

import hashlib
import os
from collections.abc import Container
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

FILE_NAME: Final = "leaked-passwords.txt"
_LINE_BYTES_AT_MOST: Final = 256
_SHA1_CHARACTERS: Final = 40


class Leaked(Container[str]):
    """Both lists, asked with «in»."""

    def __init__(self, data: Path | None = None) -> None:
        self._path = None if data is None else data / FILE_NAME

    def __contains__(self, password: object) -> bool:
        """Return whether it is known."""
        return isinstance(password, str) and (password in words() or self._is_in_file(password))

    def _is_in_file(self, password: str) -> bool:
        if self._path is None:
            return False
        # SHA-1 is what these lists are made of; nothing is kept or compared secretly by it.
        wanted = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
        try:
            with self._path.open("rb") as file:
                return _find(file.fileno(), wanted.encode())
        except OSError:
            return False


@cache
def words() -> frozenset[str]:
    """Return the words of the program's own list."""
    text = files("appliance.accounts").joinpath("leaked.txt").read_text("utf-8")
    return frozenset(
        word for line in text.splitlines() if not line.startswith("#") for word in line.split()
    )


def _find(descriptor: int, wanted: bytes) -> bool:
    """Return whether a line of the ordered file begins with ``wanted``: halves it again and again."""
    low, high = 0, os.fstat(descriptor).st_size
    while low < high:
        middle = (low + high) // 2
        start, line = _line_at(descriptor, middle, high)
        if line is None:
            high = middle
            continue
        found = line[:_SHA1_CHARACTERS].upper()
        if found == wanted:
            return True
        if found < wanted:
            low = start + len(line) + 1
        else:
            high = middle
    return False


def _line_at(descriptor: int, offset: int, high: int) -> tuple[int, bytes | None]:
    """Return the first line that begins at or after ``offset`` and before ``high``."""
    begin = max(offset - 1, 0)
    block = os.pread(descriptor, 2 * _LINE_BYTES_AT_MOST, begin)
    if offset == 0:
        start = 0
    else:
        ended = block.find(b"\n")
        if ended < 0:
            return offset, None
        start = begin + ended + 1
    if start >= high:
        return start, None
    return start, block[start - begin :].split(b"\n", 1)[0]
