"""A directory as a target: a mounted disk, or a labelled disk that is plugged in now and then.

A disk is recognised by the id written on it (``armoire-disk.toml``), never by its path: an empty mount
point, another disk or somebody else's is refused before anything is written (domain.md SAV-09).
"""

import errno
import os
import secrets
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import tomli_w

from appliance import folders
from appliance.errors import (
    InvalidInput,
    ObjectAlreadyThere,
    ObjectMissing,
    TargetFull,
    TargetIdentityChanged,
    TargetListUnreadable,
    TargetRefuses,
    TargetUnreachable,
)
from appliance.replication.target import (
    BLOCK_BYTES,
    ObjectInfo,
    SealedFile,
    check_name,
    ignore_bytes,
)
from appliance.units import DAY_S

LABEL_FILE: Final = "armoire-disk.toml"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@dataclass(frozen=True, slots=True)
class DiskLabel:
    """What is written on a disk (domain.md SAV-09): identifier, first use, expiry, whose it is."""

    disk_id: str
    box_id: str
    name: str  # written on the paper label too
    first_used: date
    expires: date | None = None


def write_label(root: Path, label: DiskLabel) -> None:
    """Label a disk, once.

    Raises:
        TargetIdentityChanged: it carries another label already.
        TargetFull, TargetRefuses, TargetUnreachable: the disk's own reasons.
    """
    found = find_label(root)
    if found == label:
        return
    if found is not None:
        raise TargetIdentityChanged(label.name, label.disk_id, found.disk_id)
    values: dict[str, object] = {
        "disk_id": label.disk_id,
        "box_id": label.box_id,
        "name": label.name,
        "first_used": label.first_used,
    }
    if label.expires is not None:
        values["expires"] = label.expires
    try:
        _write_new(root / LABEL_FILE, iter([tomli_w.dumps(values).encode()]), ignore_bytes)
    except OSError as error:
        raise _mapped(label.name, "label", error) from error


def find_label(root: Path) -> DiskLabel | None:
    """Return what is written on the disk at ``root``, or None for an unlabelled one.

    Raises:
        TargetIdentityChanged: a label is there and cannot be read.
    """
    try:
        values = tomllib.loads((root / LABEL_FILE).read_text("utf-8"))
        return DiskLabel(**values)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise TargetIdentityChanged(str(root), "a labelled disk", "an unreadable label") from error


class DirectoryTarget:
    """Objects as files below a labelled directory; keeps the promises of ``Target``."""

    def __init__(self, root: Path, *, disk_id: str, box_id: str, today: date) -> None:
        """Open the disk at ``root``.

        Raises:
            TargetUnreachable: nothing is mounted there.
            TargetIdentityChanged: unlabelled, another disk, or another box's.
            TargetRefuses: the disk is past its expiry date.
        """
        self.root = root
        self._disk_id = disk_id
        self._box_id = box_id
        self._check(today)

    @property
    def label(self) -> str:
        """The disk's id."""
        return f"disk {self._disk_id}"

    def create(
        self, name: str, sealed: SealedFile, *, on_bytes: Callable[[int], None] = ignore_bytes
    ) -> None:
        """As ``Target.create``: written beside, synced, then linked to its name in one step."""
        path = self._path(name)
        self._still_there()
        try:
            self._make_folder(path.parent)
            _write_new(path, sealed.blocks(), on_bytes)
        except FileExistsError as error:
            raise ObjectAlreadyThere(self.label, name) from error
        except OSError as error:
            raise _mapped(self.label, "create", error) from error

    def read(self, name: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """As ``Target.read``."""
        left = length
        try:
            with self._path(name).open("rb") as file:
                file.seek(offset)
                while left is None or left > 0:
                    block = file.read(BLOCK_BYTES if left is None else min(BLOCK_BYTES, left))
                    if not block:
                        return
                    left = None if left is None else left - len(block)
                    yield block
        except FileNotFoundError as error:
            self._still_there()
            raise ObjectMissing(self.label, name) from error
        except OSError as error:
            raise _mapped(self.label, "read", error) from error

    def stat(self, name: str) -> ObjectInfo | None:
        """As ``Target.stat``."""
        try:
            return ObjectInfo(name, self._path(name).stat().st_size)
        except FileNotFoundError:
            self._still_there()
            return None
        except OSError as error:
            raise _mapped(self.label, "stat", error) from error

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """As ``Target.list``."""
        self._still_there()
        try:
            yield from self._walk(self.root, "", prefix)
            self._still_there()  # a disk pulled out half-way looks like an empty folder
        except (OSError, TargetUnreachable) as error:
            raise TargetListUnreadable(self.label, type(error).__name__) from error

    def remove(self, name: str) -> None:
        """As ``Target.remove``."""
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                folders.sync(path.parent)
        except OSError as error:
            raise _mapped(self.label, "remove", error) from error

    def free_bytes(self) -> int | None:
        """As ``Target.free_bytes``."""
        try:
            found = os.statvfs(self.root)
        except OSError as error:
            raise _mapped(self.label, "statvfs", error) from error
        return found.f_bavail * found.f_frsize

    def close(self) -> None:
        """As ``Target.close``: nothing is held."""

    def _check(self, today: date) -> None:
        if not self.root.is_dir():
            raise TargetUnreachable(self.label, "nothing is mounted there")
        label = find_label(self.root)
        if label is None:
            raise TargetIdentityChanged(self.label, self._disk_id, "a disk without a label")
        if label.disk_id != self._disk_id:
            raise TargetIdentityChanged(self.label, self._disk_id, label.disk_id)
        if label.box_id != self._box_id:
            raise TargetIdentityChanged(self.label, self._box_id, "a disk of another box")
        if label.expires is not None and label.expires < today:
            raise TargetRefuses(self.label, "write", f"the disk is past its date {label.expires}")

    def _still_there(self) -> None:
        if not (self.root / LABEL_FILE).exists():
            raise TargetUnreachable(self.label, "the disk was taken out")

    def _path(self, name: str) -> Path:
        return self.root / check_name(name)

    def _make_folder(self, folder: Path) -> None:
        missing = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
            folders.sync(each.parent)

    def _walk(self, folder: Path, at: str, prefix: str) -> Iterator[ObjectInfo]:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            name = at + entry.name
            if entry.name.startswith(".") or name == LABEL_FILE:
                if entry.name.endswith(".part"):
                    _remove_stale(folder / entry.name)
                continue
            if entry.is_dir(follow_symlinks=False):
                below = name + "/"
                if below.startswith(prefix) or prefix.startswith(below):
                    yield from self._walk(folder / entry.name, below, prefix)
            elif entry.is_file(follow_symlinks=False) and name.startswith(prefix):
                with suppress(InvalidInput):  # a person's own file on the disk is not ours
                    check_name(name)
                    yield ObjectInfo(name, entry.stat(follow_symlinks=False).st_size)


def _write_new(path: Path, blocks: Iterator[bytes], on_bytes: Callable[[int], None]) -> None:
    """Write a new file whole, durable, or not at all; raises FileExistsError and other OSErrors."""
    if path.exists():
        raise FileExistsError(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with draft.open("wb") as file:
            for block in blocks:
                file.write(block)
                on_bytes(len(block))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails when the name is taken: nothing is ever overwritten
        except OSError as error:
            # exFAT and FAT, usual on such disks, know no links: a rename then, after one more look.
            if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP} or path.exists():
                raise
            draft.rename(path)
        folders.sync(path.parent)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _remove_stale(draft: Path) -> None:
    """Remove what a killed writer left, once nobody can still be writing it."""
    with suppress(OSError):
        if time.time() - draft.stat().st_mtime > DAY_S:
            draft.unlink()


def _mapped(
    label: str, action: str, error: OSError
) -> TargetFull | TargetRefuses | TargetUnreachable:
    if error.errno in _FULL:
        return TargetFull(label)
    if error.errno in _REFUSED:
        return TargetRefuses(label, action, os.strerror(error.errno or 0))
    return TargetUnreachable(label, os.strerror(error.errno or 0))
