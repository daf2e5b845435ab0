"""The one door to user files: a path is resolved beneath its share, folder by folder, or not at all.

Every step is an ``openat`` of one name with O_NOFOLLOW on the folder before it, so that neither «..» nor a link,
nor a folder exchanged for a link in the middle, leads out (openat(2)). Links are shown as what they are and
never followed: Windows and the web would show different things behind them.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from appliance.errors import FileMissing, InvalidInput, NotAFile, NotAFolder
from appliance.language import mark

#: Ours, at the top of every share: the bin, parts of uploads, quarantine. No door shows or opens it.
RESERVED: Final = b".armoire"
LONGEST_NAME: Final = 255  # bytes, ext4 and SMB
LONGEST_PATH: Final = 4095  # bytes
DEEPEST: Final = 100
#: What Windows cannot hold in a name; one that has it would be unreadable through the file explorer.
_NOT_ON_WINDOWS: Final = frozenset('\\:*?"<>|')
_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul"}
    | {f"{name}{number}" for name in ("com", "lpt") for number in range(1, 10)}
)
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: How a regular file is opened; a pipe or a device in its place keeps nobody waiting.
FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def split(path: bytes) -> tuple[bytes, ...]:
    """Return the names of a relative path; () for the share itself.

    Raises:
        InvalidInput: it is absolute, has an empty name, «.» or «..», a zero byte, is too long or too deep,
            or leads into what is ours.
    """
    if not path:
        return ()
    names = tuple(path.split(b"/"))
    if (
        len(path) > LONGEST_PATH
        or len(names) > DEEPEST
        or any(
            not name or name in {b".", b".."} or b"\0" in name or len(name) > LONGEST_NAME
            for name in names
        )
        or names[0].lower() == RESERVED
    ):
        raise InvalidInput("path", mark("This is not a path of a share."))
    return names


def join(folder: bytes, name: bytes) -> bytes:
    """Return the path of ``name`` in ``folder``."""
    return folder + b"/" + name if folder else name


def parent(path: bytes) -> tuple[bytes, bytes]:
    """Return the folder of a path, and its last name.

    Raises:
        InvalidInput: it is the share itself.
    """
    folder, _, name = path.rpartition(b"/")
    if not name:
        raise InvalidInput("path", mark("This is not a path of a share."))
    return folder, name


def check_new_name(name: bytes) -> bytes:
    """Return a name that a person may give to a file or folder: one that every door can show.

    Raises:
        InvalidInput: it is not UTF-8, holds a control character or one that Windows refuses, ends with a point
            or a space, is a device of Windows, is reserved or too long.
    """
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput("name", mark("Letters that can be read, please.")) from error
    split(name)
    if b"/" in name or not name:
        raise InvalidInput("name", mark("A name without «/», please."))
    if any(each in _NOT_ON_WINDOWS for each in text):
        raise InvalidInput("name", mark('A name without any of \\ : * ? " < > | please.'))
    if any(not each.isprintable() for each in text):
        raise InvalidInput("name", mark("A name without invisible characters, please."))
    if text[-1] in ". " or text.partition(".")[0].casefold() in _DEVICES:
        raise InvalidInput("name", mark("Windows could not open a file with this name."))
    return name


@contextmanager
def open_folder(root: Path | int, path: bytes) -> Iterator[int]:
    """Open a folder of the share at ``root``, or below an opened folder; the descriptor is closed at the end.

    Raises:
        InvalidInput: as ``split``.
        FileMissing: it, or a folder before it, is not there.
        NotAFolder: a file or a link is in the way.
    """
    folder = _walk(root, split(path))
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def open_own(root: Path, name: bytes) -> Iterator[int]:
    """Open one of our own folders of the share at ``root``; the descriptor is closed at the end.

    Raises:
        FileMissing, NotAFolder: as ``open_folder``.
    """
    folder = _walk(root, (RESERVED, *split(name)))
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def open_parent(root: Path | int, path: bytes) -> Iterator[tuple[int, bytes]]:
    """Open the folder that holds ``path`` and yield it with the last name; the name need not be there.

    Raises:
        InvalidInput, FileMissing, NotAFolder: as ``open_folder``; also when ``path`` is the share itself.
    """
    names = split(path)
    if not names:
        raise InvalidInput("path", mark("This is not a path of a share."))
    folder = _walk(root, names[:-1])
    try:
        yield folder, names[-1]
    finally:
        os.close(folder)


def open_file(root: Path | int, path: bytes) -> int:
    """Open a regular file for reading and return its descriptor; the caller closes it.

    Raises:
        InvalidInput, FileMissing, NotAFolder: as ``open_folder``.
        NotAFile: a folder, a link, a device, a socket or a pipe.
    """
    with open_parent(root, path) as (folder, name):
        try:
            descriptor = os.open(name, FILE, dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileMissing from error
        except OSError as error:  # ELOOP: a link; ENXIO: a socket
            raise NotAFile from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotAFile
        return descriptor


def _walk(root: Path | int, names: tuple[bytes, ...]) -> int:
    try:
        if isinstance(root, int):
            folder = os.open(".", _FOLDER, dir_fd=root)
        else:
            folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FileMissing from error
    for name in names:
        try:
            inner = os.open(name, _FOLDER, dir_fd=folder)
        except FileNotFoundError as error:
            raise FileMissing from error
        except OSError as error:  # ENOTDIR: a file; ELOOP: a link
            raise NotAFolder from error
        finally:
            os.close(folder)
        folder = inner
    return folder
