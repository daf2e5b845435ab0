"""Copying a file or a folder, byte for byte, from one opened folder into another."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from appliance.disk import bin as bins
from appliance.errors import JobCancelled, ShareFull

FILE_MODE: Final = 0o660
COPY_BYTES: Final = 8 * 1024 * 1024


def copy_into(
    from_folder: int,
    name: bytes,
    to_folder: int,
    new_name: bytes,
    kind: str,
    on_bytes: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> None:
    """Copy the file or folder ``name`` as ``new_name``, which must not be there; links and devices are left out.

    Args:
        from_folder: descriptor of the folder it is in.
        name: what it is called there.
        to_folder: descriptor of the folder the copy goes to.
        new_name: its name there.
        kind: file · folder.
        on_bytes: called with every block's length.
        should_stop: asked after every block.

    Raises:
        ShareFull: the disk has no room; the caller removes what there is.
        JobCancelled: ``should_stop`` said so.
    """
    if kind == "folder":
        bins.make_folder(to_folder, new_name)
        with _folder(from_folder, name) as source, _folder(to_folder, new_name) as target:
            with os.scandir(source) as found:
                inner = [
                    (os.fsencode(each.name), each.is_dir(follow_symlinks=False))
                    for each in found
                    if each.is_dir(follow_symlinks=False) or each.is_file(follow_symlinks=False)
                ]
            for each, is_folder in inner:
                copy_into(
                    source,
                    each,
                    target,
                    each,
                    "folder" if is_folder else "file",
                    on_bytes,
                    should_stop,
                )
            _keep_time(source, target)
        return
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=from_folder)
    try:
        target = os.open(
            new_name,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
            FILE_MODE,
            dir_fd=to_folder,
        )
        try:
            os.fchmod(target, FILE_MODE)
            while count := _some(source, target):
                on_bytes(count)
                if should_stop():
                    raise JobCancelled
            _keep_time(source, target)
            os.fsync(target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _some(source: int, target: int) -> int:
    try:
        return os.copy_file_range(source, target, COPY_BYTES)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ShareFull(0) from error
        if error.errno not in {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP}:
            raise
    block = os.read(source, COPY_BYTES)
    view = memoryview(block)
    while view:
        view = view[os.write(target, view) :]
    return len(block)


def _keep_time(source: int, target: int) -> None:
    facts = os.fstat(source)
    os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@contextmanager
def _folder(folder: int, name: bytes) -> Iterator[int]:
    descriptor = os.open(
        name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder
    )
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def remove(place: Path) -> None:
    """Remove what is left of a draft, if anything is."""
    with suppress(FileNotFoundError):
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()
