"""Trees with everything a machine may hold, and what a tree was, for comparing two of them.

Names are bytes: one of them is not UTF-8, one tree is deeper than PATH_MAX, so every access goes
from folder to folder by descriptor and never through one long path.
"""

import hashlib
import os
import random
import socket
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: Whole seconds, in the past, so that no file is «racy»: 2026-01-05 12:00 UTC and on.
FIRST_MTIME = 1_767_614_400

NOT_UTF8 = b"ordonnance \xe9t\xe9.txt"
NFC = unicodedata.normalize("NFC", "Élodie à Noël.pdf").encode()
NFD = unicodedata.normalize("NFD", "Élodie à Noël.pdf").encode()
NEWLINE = b"ligne 1\nligne 2.txt"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one thing in a tree is. Everything but the times of links compares exactly."""

    kind: str  # «file», «folder», «link», «fifo», «socket», «device»
    mode: int  # permission bits
    size: int  # bytes; 0 unless a file
    mtime_ns: int  # 0 for a link
    content: str | bytes | None  # SHA-256 of a file in hex, target of a link


def make_small_tree(root: Path, *, files: int = 40, seed: int = 1) -> int:
    """Fill ``root`` with ordinary files (1 B to 40 KB, some nested folders); return their bytes."""
    rng = random.Random(seed)
    total = 0
    for number in range(files):
        folder = root / f"dossier {number % 7}" / f"sous {number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        data = rng.randbytes(rng.choice((1, 100, 4_000, 40_000)))
        path = folder / f"fichier {number:05}.dat"
        path.write_bytes(data)
        os.utime(path, ns=(0, (FIRST_MTIME + number) * 10**9))
        total += len(data)
    return total


def make_odd_tree(root: Path) -> None:
    """Fill ``root`` with one of each oddity; nothing in it needs privileges."""
    root.mkdir(parents=True, exist_ok=True)
    with _opened(root) as at:
        for number, name in enumerate(
            (NOT_UTF8, NFC, NFD, NEWLINE, b" two  spaces ", b"-rf", b"a\\b")
        ):
            _write(at, name, b"content of " + name, FIRST_MTIME + number)
        _write(at, b"'quoted' \"twice\" $HOME `id` *?.txt", b"shell", FIRST_MTIME)
        _write(at, b"empty", b"", FIRST_MTIME)
        _write(at, b"x" * 255, b"longest name", FIRST_MTIME)
        _write(at, b"private", b"secret", FIRST_MTIME, mode=0o600)
        _write(at, b"program", b"#!/bin/sh\n", FIRST_MTIME, mode=0o755)
        _write(at, b"readonly", b"r", FIRST_MTIME, mode=0o444)
        os.mkdir(b"empty folder", dir_fd=at)
        os.mkdir(b"folder", 0o755, dir_fd=at)
        with _opened(b"folder", at) as inner:
            _write(inner, "été.txt".encode(), b"accents in a folder", FIRST_MTIME)
        os.symlink(b"folder/\xc3\xa9t\xc3\xa9.txt", b"link", dir_fd=at)
        os.symlink(b"folder", b"link to folder", dir_fd=at)
        os.symlink(b"nowhere at all", b"dangling", dir_fd=at)
        os.symlink(b".", b"loop", dir_fd=at)
        os.symlink(b"self", b"self", dir_fd=at)
        os.symlink(b"/etc/hostname", b"absolute", dir_fd=at)
        os.symlink(b"not utf-8 \xff", b"odd target", dir_fd=at)
        os.mkfifo(f"/proc/self/fd/{at}/fifo")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{at}/socket")
        _sparse(at, b"sparse", 5_000_000)
        make_deep_folder(at)
        for number, name in enumerate((b"empty folder", b"folder", b"fifo", b"socket")):
            os.utime(name, ns=(0, (FIRST_MTIME + number) * 10**9 + 123_456_700), dir_fd=at)


def make_deep_folder(
    at: int, *, name: bytes = b"deep", levels: int = 22, width: int = 200
) -> bytes:
    """Make a folder ``name`` whose one file lies at a path over PATH_MAX; return its relative path."""
    part = b"d" * width
    path = [name]
    here = os.dup(at)
    try:
        for step in (name, *[part] * levels):
            os.mkdir(step, dir_fd=here)
            below = os.open(step, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
            if step != name:  # not the folder we were given
                os.utime(here, ns=(0, FIRST_MTIME * 10**9))
            os.close(here)
            here = below
            path.append(part)
        _write(here, b"bottom.txt", b"deeper than PATH_MAX", FIRST_MTIME)
        os.utime(here, ns=(0, FIRST_MTIME * 10**9))
    finally:
        os.close(here)
    return b"/".join([*path[: levels + 1], b"bottom.txt"])


def snapshot_of_tree(path: Path | str | bytes) -> dict[bytes, Seen]:
    """Everything under ``path``, by its path relative to it; the top is ``b""``."""
    found: dict[bytes, Seen] = {}
    with _opened(path) as top:
        _look(top, b"", found)
    return found


def _look(folder: int, prefix: bytes, found: dict[bytes, Seen]) -> None:
    of_folder = os.fstat(folder)
    found[prefix] = Seen("folder", stat.S_IMODE(of_folder.st_mode), 0, of_folder.st_mtime_ns, None)
    for text in sorted(os.listdir(folder)):
        name = os.fsencode(text)
        path = prefix + b"/" + name if prefix else name
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        mode = stat.S_IMODE(info.st_mode)
        if stat.S_ISDIR(info.st_mode):
            with _opened(name, folder) as inner:
                _look(inner, path, found)
        elif stat.S_ISLNK(info.st_mode):
            found[path] = Seen("link", mode, 0, 0, os.readlink(name, dir_fd=folder))
        elif stat.S_ISREG(info.st_mode):
            digest = hashlib.sha256()
            with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=folder), "rb", buffering=0) as file:
                while block := file.read(1 << 20):
                    digest.update(block)
            found[path] = Seen("file", mode, info.st_size, info.st_mtime_ns, digest.hexdigest())
        else:
            kind = "fifo" if stat.S_ISFIFO(info.st_mode) else "device"
            kind = "socket" if stat.S_ISSOCK(info.st_mode) else kind
            found[path] = Seen(kind, mode, 0, info.st_mtime_ns, None)


def _write(at: int, name: bytes, data: bytes, mtime_s: int, mode: int = 0o644) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=at)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(descriptor, mode)
        os.utime(descriptor, ns=(0, mtime_s * 10**9 + 123_456_789))


def _sparse(at: int, name: bytes, size: int) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=at)
    with os.fdopen(descriptor, "wb") as file:
        file.write(b"head")
        file.seek(size - 4)
        file.write(b"tail")
        file.flush()
        os.utime(descriptor, ns=(0, FIRST_MTIME * 10**9))


@contextmanager
def _opened(name: Path | str | bytes, at: int | None = None) -> Iterator[int]:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
