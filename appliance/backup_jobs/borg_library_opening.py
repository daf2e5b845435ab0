"""Opening and making repositories with Borg's own classes, without a prompt and without its environment.

Part of the ``borg_library`` family, the only importers of ``borg``. Borg's classes are no public
interface: what is relied on here was read in 1.4.5 (archiver.do_init, crypto/key.py detect).
"""

import errno
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import borg.logger  # noqa: TID251 - the borg_library family
from borg.cache import Cache as BorgCache  # noqa: TID251
from borg.compress import CompressionSpec  # noqa: TID251
from borg.crypto.file_integrity import FileIntegrityError  # noqa: TID251
from borg.crypto.key import (  # noqa: TID251
    Blake2RepoKey,
    KeyfileInvalidError,
    Passphrase,
    RepoKey,
    RepoKeyNotFoundError,
    tam_required_file,
)
from borg.crypto.low_level import IntegrityError as LowIntegrityError  # noqa: TID251
from borg.helpers import Error as BorgError  # noqa: TID251
from borg.helpers import IntegrityError, Manifest  # noqa: TID251
from borg.helpers.manifest import NoManifestError  # noqa: TID251
from borg.locking import LockError, LockFailed  # noqa: TID251
from borg.platform import get_process_id  # noqa: TID251
from borg.repository import Repository as BorgRepository  # noqa: TID251

from appliance.errors import (
    AlreadyExists,
    BorgFailed,
    InvalidInput,
    NoSpace,
    RepositoryDamaged,
    RepositoryLocked,
    RepositoryMissing,
    RepositoryReplaced,
    WrongPassphrase,
)
from appliance.language import mark
from appliance.units import MIB
from appliance.vault.secret import Secret

#: Replication sends whole segments, and opening a repository re-reads the last one: small is better.
SEGMENT_BYTES: Final = 16 * MIB
COMPRESSION: Final = "zstd,3"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# Borg's LazyLogger refuses to work until its own set-up ran; ours is the root logger of the process.
borg.logger.configured = True
logging.getLogger("borg").setLevel(logging.WARNING)

_environment_door = threading.RLock()


@contextmanager
def borg_environment(home: Path) -> Iterator[None]:
    """Let Borg see only its home and answers that need no person; our environment comes back after.

    Borg reads ``os.environ`` while a repository, key or cache is opened. Nothing secret is put there.
    A moved repository is accepted because its id is pinned; an unencrypted one never is.
    """
    ours = {
        "BORG_BASE_DIR": str(home),
        "BORG_EXIT_CODES": "modern",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "no",
    }
    with _environment_door:
        before = {name: value for name, value in os.environ.items() if name.startswith("BORG_")}
        for name in before:
            del os.environ[name]
        os.environ.update(ours)
        try:
            yield
        finally:
            for name in ours:
                os.environ.pop(name, None)
            os.environ.update(before)


@contextmanager
def mapped(path: Path) -> Iterator[None]:
    """Turn what Borg and the disk raise into our errors; ours pass unchanged.

    Raises:
        RepositoryMissing, RepositoryLocked, RepositoryDamaged, RepositoryReplaced, NoSpace, BorgFailed.
    """
    try:
        yield
    except (
        BorgRepository.DoesNotExist,
        BorgRepository.InvalidRepository,
        NoManifestError,
    ) as error:
        raise RepositoryMissing(str(path)) from error
    except LockFailed as error:
        raise _lock_failed(path, error) from error
    except LockError as error:
        raise RepositoryLocked(str(path)) from error
    except (
        BorgRepository.InsufficientFreeSpaceError,
        BorgRepository.StorageQuotaExceeded,
    ) as error:
        raise no_space(path) from error
    except (
        BorgCache.RepositoryReplay,
        BorgCache.RepositoryIDNotUnique,
        BorgCache.EncryptionMethodMismatch,
    ) as error:
        raise RepositoryReplaced(str(path), "the newest state", "an older state") from error
    except (KeyfileInvalidError, RepoKeyNotFoundError) as error:
        raise RepositoryDamaged(str(path), "the key stored in it cannot be read") from error
    except BorgRepository.InvalidRepositoryConfig as error:
        raise RepositoryDamaged(str(path), "its settings cannot be read") from error
    except (BorgRepository.CheckNeeded, BorgRepository.ObjectNotFound) as error:
        raise RepositoryDamaged(str(path), "something that must be there is missing") from error
    except (IntegrityError, LowIntegrityError, FileIntegrityError) as error:
        raise RepositoryDamaged(str(path), "stored bytes were altered") from error
    except BorgError as error:
        raise BorgFailed(int(error.exit_mcode), str(error)) from error
    except OSError as error:
        if error.errno in _FULL:
            raise no_space(path) from error
        if error.errno in {errno.EIO, errno.EROFS}:
            raise RepositoryDamaged(str(path), os.strerror(error.errno)) from error
        raise


def break_dead_lock(path: Path) -> bool:
    """Remove a lock whose holder is provably gone although its process number is in use again.

    Borg itself removes the lock of a process that is no more. After a restart of the box the number
    may belong to another program, and Borg would wait for it for ever. Ours are Python programs: a
    number that is a program of another kind cannot be the holder. In doubt the lock stays.

    Returns:
        Whether a lock was removed.
    """
    host = get_process_id()[0]
    folder = path / "lock.exclusive"
    removed = False
    try:
        names = [each.name for each in folder.iterdir()]
    except OSError:
        return False
    for name in names:
        holder, _dash, _thread = name.rpartition("-")
        its_host, _dot, number = holder.rpartition(".")
        if its_host == host and number.isdigit() and _is_another_program(int(number)):
            with suppress(OSError):
                (folder / name).unlink()
                removed = True
    if removed:
        with suppress(OSError):
            folder.rmdir()
            (path / "lock.roster").unlink()
    return removed


def _is_another_program(number: int) -> bool:
    try:
        command = Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return False  # gone (Borg sees that itself), or not ours to look at
    # Nothing is shown of a thread of the kernel, and of a process that is just ending: in doubt, no.
    return bool(command) and not any(word in command for word in (b"python", b"borg", b"armoire"))


def no_space(path: Path) -> NoSpace:
    """Return the error with what is free now at ``path``."""
    try:
        free = shutil.disk_usage(path).free
    except OSError:
        free = 0
    return NoSpace(str(path), free, 0)


def _lock_failed(path: Path, error: LockFailed) -> Exception:
    # Borg gives the operating system's words only as text: ask the disk instead of reading them.
    if not path.is_dir():
        return RepositoryMissing(str(path))
    if "No space left" in str(error) or "quota" in str(error):
        return no_space(path)
    return BorgFailed(int(error.exit_mcode), str(error))


def read_config(path: Path) -> ConfigParser:
    """Return the settings file of the repository at ``path``.

    Raises:
        RepositoryMissing: no repository lies there; an empty mount point is none.
        RepositoryDamaged: it lies there and cannot be read.
    """
    config = ConfigParser(interpolation=None)
    try:
        text = (path / "config").read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RepositoryMissing(str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RepositoryDamaged(str(path), "its settings cannot be read") from error
    try:
        config.read_string(text)
        whole = len(bytes.fromhex(config.get("repository", "id"))) == 32
    except (ConfigError, ValueError) as error:
        raise RepositoryDamaged(str(path), "its settings cannot be read") from error
    if not whole:
        raise RepositoryDamaged(str(path), "its settings cannot be read")
    if not (path / "data").is_dir():
        raise RepositoryMissing(str(path))
    return config


def check_identity(path: Path, expected_id: str | None) -> ConfigParser:
    """Return the settings of the repository at ``path`` once its id is the expected one.

    Raises:
        RepositoryReplaced: another id is found.
    """
    config = read_config(path)
    found = config.get("repository", "id")
    if expected_id is not None and found != expected_id:
        raise RepositoryReplaced(str(path), expected_id, found)
    return config


def unlock(repository: Any, path: Path, passphrase: Secret, manifest_data: bytes) -> Any:  # noqa: ANN401
    """Return the opened key of ``repository``; the passphrase is not kept in it.

    Raises:
        WrongPassphrase: it does not open the key.
        RepositoryDamaged: the repository is not encrypted as ours are.
    """
    kinds = {bytes([kind.TYPE]): kind for kind in (Blake2RepoKey, RepoKey)}
    kind = kinds.get(bytes(manifest_data[:1]))
    if kind is None:
        raise RepositoryDamaged(str(path), "it is not encrypted as it was made")
    key = kind(repository)
    if not key.load(key.find_key(), Passphrase(passphrase.reveal().decode("utf-8"))):
        raise WrongPassphrase(str(path))
    key.compressor = CompressionSpec(COMPRESSION).compressor
    return key


def create_repository(
    path: Path, passphrase: Secret, home: Path, *, segment_bytes: int = SEGMENT_BYTES
) -> str:
    """Make an encrypted repository (repokey-blake2) at ``path`` and return its id, 64 hex digits.

    It is made beside its place and renamed, so a kill leaves no half repository there; what such a
    kill left beside is removed by the next call. ``path`` may be an empty folder.

    Args:
        path: where it will lie; its parent must exist (an unplugged disk must not be filled in).
        passphrase: UTF-8 text without line ends.
        home: Borg's home (cache and security folders), one for all repositories of the box.
        segment_bytes: size at which a new segment file is begun, 1 MiB to 500 MiB.

    Raises:
        AlreadyExists: something lies at ``path``.
        RepositoryMissing: the parent folder is not there.
        NoSpace: the disk is full.
    """
    if not MIB <= segment_bytes <= 500 * MIB:
        raise InvalidInput("segment_bytes", mark("a size from 1 MiB to 500 MiB."))
    path = path.absolute()
    if not path.parent.is_dir():
        raise RepositoryMissing(str(path))
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise AlreadyExists("repository", str(path))
    for left in path.parent.glob(f".{path.name}.new-*"):
        shutil.rmtree(left, ignore_errors=True)
    draft = path.parent / f".{path.name}.new-{uuid4().hex}"
    try:
        with mapped(path.parent), borg_environment(home):
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            identity = _make(draft, passphrase, segment_bytes)
            _sync_tree(draft)
            draft.rename(path)
            _sync_folder(path.parent)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.ENOTDIR}:
            raise AlreadyExists("repository", str(path)) from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return identity


def _make(draft: Path, passphrase: Secret, segment_bytes: int) -> str:
    with BorgRepository(str(draft), create=True, exclusive=True, lock_wait=1) as repository:
        repository.config.set("repository", "max_segment_size", str(segment_bytes))
        key = Blake2RepoKey(repository)
        key.repository_id = repository.id
        key.init_from_random_data()
        key.init_ciphers()
        key.save(repository, Passphrase(passphrase.reveal().decode("utf-8")), create=True)
        manifest = Manifest(key, repository)
        manifest.write()
        repository.commit(compact=False)
        # As `borg init` does: a manifest without authentication is refused from now on.
        Path(tam_required_file(repository)).touch()
        return str(repository.id_str)


def export_key(path: Path, expected_id: str | None = None) -> Secret:
    """Return the repository's key as `borg key export` writes it; still closed by the passphrase.

    Raises:
        RepositoryMissing, RepositoryReplaced, RepositoryDamaged.
    """
    config = check_identity(path, expected_id)
    blob = config.get("repository", "key", fallback="").strip()
    if not blob:
        raise RepositoryDamaged(str(path), "the key stored in it cannot be read")
    identity = config.get("repository", "id")
    # Source: borg 1.4 crypto/keymanager.py get_keyfile_data
    return Secret(f"BORG_KEY {identity}\n{blob}\n".encode("ascii"))


def _sync_tree(folder: Path) -> None:
    for each in sorted(folder.rglob("*"), reverse=True):
        if each.is_dir():
            _sync_folder(each)
        else:
            descriptor = os.open(each, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
