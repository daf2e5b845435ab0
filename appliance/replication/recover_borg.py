"""A repository that came back from a copy, made safe to be written: docs/decisions/0100.

Done by Borg's own program and by hand on its small files; a repository is opened for writing only after.
"""

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.errors import (
    BorgFailed,
    NotFound,
    RepositoryDamaged,
    RepositoryMissing,
    RepositoryReplaced,
    WrongPassphrase,
)
from appliance.process import run
from appliance.units import DAY_S
from appliance.vault.secret import Secret

PROGRAM: Final = str(Path(sys.executable).parent / "borg")
TIMEOUT_S: Final = 2 * DAY_S
#: A jump is 1 to SLOTS times SLOT, in AES blocks of 16 bytes: 16 TiB at least, 2^58 at most of 2^64.
SLOT: Final = 1 << 40
SLOTS: Final = 1 << 18
_LARGEST: Final = (1 << 64) - 1
_WRONG_PASSPHRASE: Final = 52  # Borg 1.4.5 manual, «Return codes»
_LOCKS: Final = ("lock.exclusive", "lock.roster")


@dataclass(frozen=True, slots=True)
class Jump:
    """How far the reservation of nonces was moved, in blocks of 16 bytes."""

    before: int
    after: int


def jump_nonce(repository: Path, *, draw: Callable[[int], int] = secrets.randbelow) -> Jump:
    """Reserve every nonce the old box may have used since the copy, and those of another recovery of it.

    AES-CTR breaks when a nonce is used twice. The reservation jumps by a random number of slots, so
    that two boxes made from the same copy do not meet either.

    Raises:
        RepositoryDamaged: the nonce cannot be read, or no room is left above it.
    """
    place = repository / "nonce"
    try:
        before = int.from_bytes(bytes.fromhex(place.read_text("ascii").strip()), "big")
    except FileNotFoundError:
        before = 0
    except (OSError, ValueError) as error:
        raise RepositoryDamaged(str(repository), "its nonce cannot be read") from error
    after = before + SLOT * (1 + draw(SLOTS))
    if after > _LARGEST - SLOT:
        raise RepositoryDamaged(str(repository), "its nonces are used up")
    draft = place.with_name("nonce.new")
    with draft.open("w") as file:
        file.write(after.to_bytes(8, "big").hex())
        file.flush()
        os.fsync(file.fileno())
    draft.rename(place)
    return Jump(before, after)


def clean(repository: Path, borg_home: Path, expected_id: str) -> None:
    """Remove what this machine remembers of a repository with this id, and locks that came along.

    An older memory would call the copy an attack, a newer nonce beside it is in ``jump_nonce``'s reach.

    Raises:
        RepositoryMissing: no repository lies there.
        RepositoryReplaced: another id lies there.
    """
    found = identity_of(repository)
    if found != expected_id:
        raise RepositoryReplaced(str(repository), expected_id, found)
    for folder in (
        borg_home / ".config" / "borg" / "security" / expected_id,
        borg_home / ".cache" / "borg" / expected_id,
    ):
        shutil.rmtree(folder, ignore_errors=True)
    for name in _LOCKS:
        lock = repository / name
        if lock.is_dir():
            shutil.rmtree(lock)
        else:
            lock.unlink(missing_ok=True)


def identity_of(repository: Path) -> str:
    """Return the id in the repository's settings, 64 hex digits.

    Raises:
        RepositoryMissing, RepositoryDamaged.
    """
    config = ConfigParser(interpolation=None)
    try:
        config.read_string((repository / "config").read_text("utf-8"))
        return config.get("repository", "id")
    except FileNotFoundError as error:
        raise RepositoryMissing(str(repository)) from error
    except (OSError, ConfigError, UnicodeDecodeError) as error:
        raise RepositoryDamaged(str(repository), "its settings cannot be read") from error


def check(repository: Path, borg_home: Path, *, should_stop: Callable[[], bool]) -> bool:
    """Re-read every stored byte with `borg check --repository-only` and say whether all were right.

    Raises:
        BorgFailed: the check itself did not end.
        ToolMissing, JobCancelled.
    """
    done = run(
        (PROGRAM, "check", "--repository-only", _literal(repository)),
        env=_environment(borg_home),
        timeout_s=TIMEOUT_S,
        should_stop=should_stop,
    )
    if done.exit_code not in {0, 1}:
        raise BorgFailed(done.exit_code, "borg check")
    return done.exit_code == 0


def extract_newest(
    repository: Path,
    passphrase: Secret,
    borg_home: Path,
    into: Path,
    *,
    should_stop: Callable[[], bool],
) -> str:
    """Extract the newest archive below ``into``, an empty folder, and return its name.

    Raises:
        NotFound: the repository holds none.
        WrongPassphrase, BorgFailed, ToolMissing, JobCancelled.
    """
    listed = _run(
        ("list", "--last", "1", "--format", "{archive}{NL}", _literal(repository)),
        passphrase,
        borg_home,
        should_stop=should_stop,
    ).split()
    if not listed:
        raise NotFound("archive", "state")
    _run(
        ("extract", f"{_literal(repository)}::{listed[-1]}"),
        passphrase,
        borg_home,
        cwd=into,
        should_stop=should_stop,
    )
    return listed[-1]


def _run(
    words: tuple[str, ...],
    passphrase: Secret,
    borg_home: Path,
    *,
    should_stop: Callable[[], bool],
    cwd: Path | None = None,
) -> str:
    done = run(
        (PROGRAM, *words),
        env=_environment(borg_home),
        passphrase=passphrase,
        cwd=None if cwd is None else str(cwd),
        timeout_s=TIMEOUT_S,
        should_stop=should_stop,
    )
    if done.exit_code == _WRONG_PASSPHRASE:
        raise WrongPassphrase(words[-1])
    if done.exit_code != 0:
        raise BorgFailed(done.exit_code, f"borg {words[0]}")
    return done.stdout


def _environment(home: Path) -> Mapping[str, str]:
    return {
        "BORG_BASE_DIR": str(home),
        "BORG_EXIT_CODES": "modern",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "no",  # nothing remembers it: ``clean`` ran
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "no",
        "HOME": str(home),
    }


def _literal(path: Path) -> str:
    return str(path).replace("{", "{{").replace("}", "}}")
