"""Where restored files go: a folder of the box, or a machine over SFTP. One protocol, two places.

A path is a tuple of names below a base that was chosen by a person. Names out of an archive may be
hostile: each is checked, links below the base are never followed, nothing is replaced unless that was
said, and a file appears whole or not at all.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

from appliance.backup_jobs.borg_library_attributes import FullItem, set_attributes
from appliance.backup_jobs.sftp import SftpClient, SftpRefused
from appliance.model import System
from appliance.units import NS_PER_S

Parts = tuple[bytes, ...]

_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RESERVED: Final = frozenset(
    {b"con", b"prn", b"aux", b"nul"}
    | {b"com%d" % number for number in range(1, 10)}
    | {b"lpt%d" % number for number in range(1, 10)}
)
_NOT_ON_WINDOWS: Final = frozenset(b'<>:"|?*\\') | frozenset(range(32))


class CannotPlace(Exception):
    """One item cannot be put in its place; the others can. Its text names no file."""


class AlreadyThere(CannotPlace):
    """Something has this name, and nobody said that it may be replaced."""


class Place(Protocol):
    """Where restored items go."""

    def exists(self, parts: Parts) -> bool:
        """Return whether anything has this name, a dangling link included."""
        ...

    def make_folder(self, parts: Parts) -> None:
        """Make a folder and those above it; one that is there is fine.

        Raises:
            CannotPlace: something else has a name on the way.
        """
        ...

    def write(self, parts: Parts, item: FullItem, blocks: Iterable[bytes]) -> None:
        """Write a file whole, its attributes included; its folder exists.

        Raises:
            AlreadyThere, CannotPlace.
        """
        ...

    def link(self, parts: Parts, target: bytes) -> None:
        """Make a symbolic link; its folder exists.

        Raises:
            AlreadyThere, CannotPlace.
        """
        ...

    def finish_folder(self, parts: Parts, item: FullItem) -> None:
        """Give a folder its attributes, once everything in it is there."""
        ...

    def settle(self) -> None:
        """Return once everything survives a power cut; before that, the sheet claims nothing."""
        ...


def safe_parts(path: bytes) -> Parts:
    """Return the names of a stored path.

    Raises:
        CannotPlace: a name that would lead elsewhere.
    """
    parts = tuple(path.split(b"/")) if path else ()
    for name in parts:
        if name in {b"", b".", b".."} or b"\0" in name:
            raise CannotPlace("a name that leads elsewhere")
    return parts


def check_windows(parts: Parts) -> None:
    """Return when Windows can hold these names.

    Raises:
        CannotPlace: it cannot. Source: Microsoft, «Naming Files, Paths, and Namespaces».
    """
    for name in parts:
        stem = name.split(b".")[0].rstrip().lower()
        if stem in _RESERVED or name.endswith((b".", b" ")) or _NOT_ON_WINDOWS & frozenset(name):
            raise CannotPlace("a name that Windows does not allow")


# --- the box ---------------------------------------------------------------------------------


class LocalPlace:
    """A folder of the box."""

    def __init__(
        self, base: Path, *, replace: bool, keep_owner: bool, mode_bits: int = 0o1777
    ) -> None:
        """Place below ``base``, which exists; its own path may lead through links.

        Args:
            base: an existing folder.
            replace: files that are there may be replaced.
            keep_owner: give items their stored owner (tried); else they belong to their folder's owner.
            mode_bits: of a stored mode, those that are set: set-uid bits of another machine's programs have
                no place on the box; a share of its own gets the set-group bit of its folders back.
        """
        self._mode_bits = mode_bits
        self._base = base
        self._replace = replace
        self._keep_owner = keep_owner

    def exists(self, parts: Parts) -> bool:
        """Return whether anything has this name."""
        try:
            with self._folder(parts[:-1]) as folder:
                os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError, CannotPlace):
            return False
        return True

    def make_folder(self, parts: Parts) -> None:
        """Make a folder and those above it."""
        with self._folder(parts, make=True):
            pass

    def write(self, parts: Parts, item: FullItem, blocks: Iterable[bytes]) -> None:
        """Write under another name, set everything, then take the name."""
        draft = f".armoire-{uuid4().hex}.part".encode()
        with self._folder(parts[:-1], make=True) as folder, _problems():
            if not self._replace and _is_there(parts[-1], folder):
                raise AlreadyThere("something has this name")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(draft, flags, 0o600, dir_fd=folder)
            try:
                try:
                    for block in blocks:
                        _write_all(descriptor, block)
                    self._set(descriptor, folder, item)
                finally:
                    os.close(descriptor)
                self._name(draft, parts[-1], folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(draft, dir_fd=folder)

    def link(self, parts: Parts, target: bytes) -> None:
        """Make a link; what it points to is not looked at."""
        draft = f".armoire-{uuid4().hex}.part".encode()
        with self._folder(parts[:-1], make=True) as folder, _problems():
            os.symlink(target, draft, dir_fd=folder)
            try:
                self._name(draft, parts[-1], folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(draft, dir_fd=folder)

    def join(self, parts: Parts, known: Parts) -> None:
        """Give a file below the base another name, whose folder exists.

        Raises:
            AlreadyThere, CannotPlace.
        """
        with (
            self._folder(parts[:-1], make=True) as folder,
            self._folder(known[:-1]) as other,
            _problems(),
        ):
            try:
                os.link(
                    known[-1],
                    parts[-1],
                    src_dir_fd=other,
                    dst_dir_fd=folder,
                    follow_symlinks=False,
                )
            except FileExistsError as error:
                raise AlreadyThere("something has this name") from error

    def finish_folder(self, parts: Parts, item: FullItem) -> None:
        """Give a folder its owner, mode and times."""
        with self._folder(parts) as folder, _problems():
            parent = os.stat("..", dir_fd=folder)
            self._set(folder, None, item, like=(parent.st_uid, parent.st_gid))

    def settle(self) -> None:
        """Write everything to the disks: once, since a wait for each file costs 5 ms."""
        os.sync()

    def _set(
        self,
        descriptor: int,
        folder: int | None,
        item: FullItem,
        *,
        like: tuple[int, int] | None = None,
    ) -> None:
        entry = item.entry
        if self._keep_owner:
            owner = (-1 if entry.uid is None else entry.uid, -1 if entry.gid is None else entry.gid)
        elif like is not None:
            owner = like
        else:
            above = os.fstat(folder if folder is not None else descriptor)
            owner = (above.st_uid, above.st_gid)
        with suppress(PermissionError):  # an ordinary account cannot give files away
            os.fchown(descriptor, *owner)
        bits = self._mode_bits if stat.S_ISDIR(entry.mode) else self._mode_bits & 0o1777
        os.fchmod(descriptor, stat.S_IMODE(entry.mode) & bits)
        if self._keep_owner:
            set_attributes(descriptor, item)
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))

    def _name(self, draft: bytes, name: bytes, folder: int) -> None:
        if self._replace:
            if _is_folder(name, folder):
                raise AlreadyThere("a folder has this name")
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
            return
        try:
            os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError as error:
            raise AlreadyThere("something has this name") from error
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EMLINK}:
                raise
            # A disk without hard links: looked at and renamed, which is nearly the same.
            if _is_there(name, folder):
                raise AlreadyThere("something has this name") from error
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)

    @contextmanager
    def _folder(self, parts: Parts, *, make: bool = False) -> Iterator[int]:
        descriptor = os.open(self._base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in parts:
                descriptor = _step_into(descriptor, name, make=make)
            yield descriptor
        finally:
            os.close(descriptor)


def _step_into(descriptor: int, name: bytes, *, make: bool) -> int:
    """Return the folder ``name`` opened in place of ``descriptor``, which is closed on success."""
    if make:
        with suppress(FileExistsError):
            with _problems():
                os.mkdir(name, 0o755, dir_fd=descriptor)
            above = os.fstat(descriptor)
            with suppress(PermissionError, FileNotFoundError):
                os.chown(name, above.st_uid, above.st_gid, dir_fd=descriptor, follow_symlinks=False)
    try:
        below = os.open(name, _FOLDER_FLAGS, dir_fd=descriptor)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise CannotPlace("a link or a file is in the way") from error
        if error.errno == errno.ENOENT and not make:
            raise
        raise CannotPlace(os.strerror(error.errno or 0)) from error
    os.close(descriptor)
    return below


@contextmanager
def _problems() -> Iterator[None]:
    """Turn what one item cannot have into CannotPlace; a full disk is everybody's and passes."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise CannotPlace(os.strerror(error.errno or 0)) from error


def _is_there(name: bytes, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_folder(name: bytes, folder: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _write_all(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


# --- a machine -------------------------------------------------------------------------------


class MachinePlace:
    """A folder of a machine, over SFTP."""

    def __init__(self, client: SftpClient, base: bytes, system: System, *, replace: bool) -> None:
        """Place below ``base``, the server's own path of a folder (made when it is not there)."""
        self._client = client
        self._base = base.rstrip(b"/") or b"/"
        self._system = system
        self._replace = replace
        self._folders: set[Parts] = set()  # seen or made, no links

    def exists(self, parts: Parts) -> bool:
        """Return whether anything has this name."""
        try:
            return self._client.exists(self._at(parts))
        except SftpRefused as error:
            raise CannotPlace(str(error)) from error

    def make_folder(self, parts: Parts) -> None:
        """Make a folder and those above it."""
        for depth in range(len(parts) + 1):
            upper = parts[:depth]
            if upper in self._folders:
                continue
            try:
                self._make_one(upper)
            except SftpRefused as error:
                raise CannotPlace(str(error)) from error
            self._folders.add(upper)

    def _make_one(self, parts: Parts) -> None:
        path = self._at(parts)
        if not parts:  # the base itself may be a link: a person chose it
            try:
                if self._client.stat(path).is_folder:
                    return
            except SftpRefused as error:
                if not error.is_missing:
                    raise
            self._client.make_folder(path)
        elif not self._client.exists(path):
            self._client.make_folder(path)
        elif not self._client.is_folder(path):
            raise CannotPlace("a link or a file is in the way")

    def write(self, parts: Parts, item: FullItem, blocks: Iterable[bytes]) -> None:
        """Write a file whole, with owner, mode and times where the machine allows."""
        entry = item.entry
        self.make_folder(parts[:-1])
        path = self._at(parts)
        windows = self._system is System.WINDOWS
        seconds = entry.mtime_ns // NS_PER_S
        try:
            if self._client.exists(path):
                if not self._replace:
                    raise AlreadyThere("something has this name")
                if self._client.is_folder(path):
                    raise AlreadyThere("a folder has this name")
            self._client.write_file(
                path,
                blocks,
                mode=None if windows else stat.S_IMODE(entry.mode),
                owner=None
                if windows or entry.uid is None or entry.gid is None
                else (entry.uid, entry.gid),
                times=(seconds, seconds),
                replace=self._replace,
            )
        except SftpRefused as error:
            raise CannotPlace(str(error)) from error

    def link(self, parts: Parts, target: bytes) -> None:
        """Make a link."""
        self.make_folder(parts[:-1])
        path = self._at(parts)
        try:
            if self._client.exists(path):
                if not self._replace:
                    raise AlreadyThere("something has this name")
                if self._client.is_folder(path):
                    raise AlreadyThere("a folder has this name")
                self._client.remove(path)
            self._client.make_link(path, target)
        except SftpRefused as error:
            raise CannotPlace(str(error)) from error

    def finish_folder(self, parts: Parts, item: FullItem) -> None:
        """Give a folder its owner, mode and times."""
        entry = item.entry
        windows = self._system is System.WINDOWS
        seconds = entry.mtime_ns // NS_PER_S
        try:
            self._client.set_attributes(
                self._at(parts),
                mode=None if windows else stat.S_IMODE(entry.mode),
                owner=None
                if windows or entry.uid is None or entry.gid is None
                else (entry.uid, entry.gid),
                times=(seconds, seconds),
            )
        except SftpRefused as error:
            raise CannotPlace(str(error)) from error

    def settle(self) -> None:
        """Nothing to do: the machine was asked to write each file to its disk."""

    def _at(self, parts: Parts) -> bytes:
        if self._system is System.WINDOWS:
            check_windows(parts)
        if not parts:
            return self._base
        return (b"" if self._base == b"/" else self._base) + b"/" + b"/".join(parts)
