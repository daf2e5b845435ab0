"""The `borg` program: argument lists made by pure functions, exit codes turned into errors.

Used where Borg's own program is the right tool (shares, check, delete, compact, extract, key export).
Names of archives in an argument list are ids and times, never a person (beam 7); the passphrase goes
down a pipe; the environment is closed.

Source: Borg 1.4.5 manual, «Return codes», «Environment Variables»; borg/helpers/errors.py,
repository.py, locking.py, crypto/key.py, archive.py for the codes.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from appliance.backup_jobs.borg_events import BorgEvent, LogMessage, parse_line
from appliance.errors import (
    ArmoireError,
    BorgFailed,
    NoSpace,
    RepositoryDamaged,
    RepositoryLocked,
    RepositoryMissing,
    RepositoryReplaced,
    WrongPassphrase,
)
from appliance.process import Finished, run
from appliance.units import DAY_S
from appliance.vault.secret import Secret

#: The program of our own virtual environment: the version this code was read against.
PROGRAM: Final = str(Path(sys.executable).parent / "borg")
COMPRESSION: Final = "zstd,3"
#: One job at a time works on a repository; only what a killed job left running may hold it. Borg looks
#: again after a tenth of this: a stale lock costs that much.
LOCK_WAIT_S: Final = 5
CHECKPOINT_S: Final = 300  # seconds between two checkpoints: what a cut may cost at most
TIMEOUT_S: Final = 2 * DAY_S  # of one call; a first night over a slow line may take that long
KEPT_MESSAGES: Final = 1_000
#: `borg check` ended and found damage; `borg delete` did not find an archive.
EXIT_WARNING: Final = 1
_NO_SPACE: Final = ("[Errno 28]", "[Errno 122]", "[Errno 27]")  # ENOSPC, EDQUOT, EFBIG


def environment(home: Path) -> dict[str, str]:
    """Return the closed environment of every call."""
    return {
        "BORG_BASE_DIR": str(home),
        "BORG_EXIT_CODES": "modern",
        # Answers to questions nobody could be asked: a repository that was moved or swapped is refused.
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "no",
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "no",
        "BORG_DELETE_I_KNOW_WHAT_I_AM_DOING": "no",
        "HOME": str(home),
    }


# --- argument lists ------------------------------------------------------------------------


def _borg(verb: str, *, lock_wait_s: int = LOCK_WAIT_S) -> tuple[str, ...]:
    return (PROGRAM, "--log-json", "--lock-wait", str(lock_wait_s), *verb.split())


def _literal(text: str) -> str:
    # Borg fills «{now}» and the like into comments and locations; a JSON comment is full of braces.
    return text.replace("{", "{{").replace("}", "}}")


def _location(repository: Path, archive: str | None = None) -> str:
    return _literal(str(repository) if archive is None else f"{repository}::{archive}")


def create(
    repository: Path,
    archive: str,
    roots: Sequence[str],
    *,
    comment: str,
    excludes: Iterable[str] = (),
    lock_wait_s: int = LOCK_WAIT_S,
    checkpoint_s: int = CHECKPOINT_S,
) -> tuple[str, ...]:
    """Read ``roots`` into a new archive: every item's status on stderr, the statistics on stdout.

    The files cache looks at ctime, size and inode: a changed time stamp alone hides nothing.
    """
    patterns = tuple(word for pattern in excludes for word in ("--exclude", pattern))
    return (
        *_borg("create", lock_wait_s=lock_wait_s),
        *("--json", "--list", "--progress", "--files-cache", "ctime,size,inode"),
        *("--compression", COMPRESSION, "--checkpoint-interval", str(checkpoint_s)),
        *("--comment", _literal(comment), *patterns),
        _location(repository, archive),
        "--",
        *roots,
    )


def list_archives(repository: Path) -> tuple[str, ...]:
    """Name every archive as JSON on stdout."""
    return (*_borg("list"), "--json", "--consider-checkpoints", _location(repository))


def info(repository: Path) -> tuple[str, ...]:
    """Describe the repository as JSON on stdout."""
    return (*_borg("info"), "--json", _location(repository))


def check_segments(repository: Path, *, max_seconds: int | None = None) -> tuple[str, ...]:
    """Re-read the checksums of stored segments; with ``max_seconds`` a slice, going on where the last ended."""
    limit = () if max_seconds is None else ("--max-duration", str(max_seconds))
    return (
        *_borg("check"),
        "--info",
        "--progress",
        "--repository-only",
        *limit,
        _location(repository),
    )


def check_data(repository: Path) -> tuple[str, ...]:
    """Re-read, decrypt and authenticate every stored byte, then every archive's structure.

    Without the segments: their check would end the program at the first damage, before the rest is read.
    """
    return (
        *_borg("check"),
        *("--info", "--progress", "--archives-only", "--verify-data"),
        _location(repository),
    )


def delete(repository: Path, archives: Sequence[str]) -> tuple[str, ...]:
    """Remove exactly these archives: never a pattern, never none (that would mean the repository).

    Raises:
        ValueError: ``archives`` is empty, or a name could be read as an option.
    """
    if not archives or any(not name or name.startswith("-") for name in archives):
        raise ValueError("which archives")
    first, *others = archives
    return (*_borg("delete"), "--list", _location(repository, first), *others)


def compact(repository: Path, *, threshold_percent: int = 10) -> tuple[str, ...]:
    """Give the space of removed archives back."""
    return (
        *_borg("compact"),
        "--progress",
        "--threshold",
        str(threshold_percent),
        _location(repository),
    )


def extract(repository: Path, archive: str, paths: Sequence[str] = ()) -> tuple[str, ...]:
    """Write an archive, or ``paths`` of it, into the working folder."""
    patterns = tuple(f"pp:{path}" for path in paths)
    return (*_borg("extract"), _location(repository, archive), *patterns)


def export_key(repository: Path) -> tuple[str, ...]:
    """Print the repository's key, still closed by its passphrase, on stdout."""
    return (*_borg("key export"), _location(repository))


def break_lock(repository: Path) -> tuple[str, ...]:
    """Remove a lock whoever holds it: for a person's hand (RUNBOOK), no job calls it."""
    return (*_borg("break-lock"), _location(repository))


# --- running -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BorgRun:
    """How a call ended that did not fail."""

    exit_code: int
    stdout: str
    messages: tuple[LogMessage, ...] = field(
        default=()
    )  # the first KEPT_MESSAGES of level WARNING and above
    warnings: int = 0  # of all

    @property
    def warned(self) -> bool:
        """Whether Borg says that something was left out or changed."""
        return self.exit_code != 0


def _ignore(_event: BorgEvent) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Borg:
    """The `borg` program with one repository's passphrase and one home."""

    repository: Path
    passphrase: Secret
    home: Path
    #: Asked several times a second; True stops Borg, which keeps a checkpoint.
    should_stop: Callable[[], bool] = lambda: False

    def call(
        self,
        argv: Sequence[str],
        *,
        on_event: Callable[[BorgEvent], None] = _ignore,
        accept: frozenset[int] = frozenset(),
        cwd: Path | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> BorgRun:
        """Run ``argv`` and return how it ended; warnings (100 to 127) are returned, not raised.

        Args:
            argv: made by a function of this module.
            on_event: gets each event as it comes, on a reader thread.
            accept: more exit codes that are no error for this call.
            cwd: folder to start in.
            timeout_s: seconds.

        Raises:
            JobCancelled: ``should_stop`` said so; a checkpoint may have been kept.
            ToolMissing, ToolTimeout: as ``process.run``.
            BackupError, NoSpace: what the exit code means.
        """
        kept: list[LogMessage] = []
        warnings = 0

        def read(line: str) -> None:
            nonlocal warnings
            event = parse_line(line)
            if isinstance(event, LogMessage) and event.is_grave:
                warnings += 1
                if len(kept) < KEPT_MESSAGES or event.level in {"ERROR", "CRITICAL"}:
                    kept.append(event)
            on_event(event)

        finished = run(
            argv,
            env=environment(self.home),
            cwd=None if cwd is None else str(cwd),
            timeout_s=timeout_s,
            passphrase=self.passphrase,
            on_stderr=read,
            should_stop=self.should_stop,
        )
        error = error_for(finished, self.repository, kept, accept=accept)
        if error is not None:
            raise error
        return BorgRun(finished.exit_code, finished.stdout, tuple(kept[:KEPT_MESSAGES]), warnings)


# --- exit codes ----------------------------------------------------------------------------

_MISSING: Final = frozenset({13, 15, 18})  # DoesNotExist, InvalidRepository, ParentPathDoesNotExist
_FULL: Final = frozenset({14, 20})  # InsufficientFreeSpaceError, StorageQuotaExceeded
_LOCKED: Final = frozenset({70, 71, 73, 74, 75})
_PASSPHRASE: Final = frozenset({50, 51, 52, 53})
_REPLACED: Final = frozenset(
    {61, 62, 63, 64}
)  # another encryption, relocated, same id twice, replayed
_DAMAGED: Final[Mapping[int, str]] = {
    12: "it contradicts itself",  # CheckNeeded
    16: "its settings cannot be read",  # InvalidRepositoryConfig
    17: "a piece is missing",  # ObjectNotFound
    26: "the list of archives is missing",  # NoManifestError
    40: "the key stored in it cannot be read",
    41: "the key stored in it cannot be read",
    42: "the key stored in it cannot be read",
    44: "the key stored in it cannot be read",
    **dict.fromkeys(range(90, 100), "stored bytes were altered"),
}
_LOCK_NOT_MADE: Final = 72  # LockFailed: the folder cannot be written: full, read-only, or not ours


def error_for(
    finished: Finished,
    repository: Path,
    messages: Sequence[LogMessage] = (),
    *,
    accept: frozenset[int] = frozenset(),
) -> ArmoireError | None:
    """Return what an exit code of BORG_EXIT_CODES=modern means, None when Borg did its work."""
    code = finished.exit_code
    path = str(repository)
    if code == 0 or code in accept or 100 <= code <= 127:
        return None
    words = "\n".join([each.message for each in messages] + list(finished.stderr_tail))
    if code in _FULL or any(mark in words for mark in _NO_SPACE):
        return NoSpace(path, free_bytes=0, needed_bytes=0)
    if code in _MISSING:
        return RepositoryMissing(path)
    if code in _LOCKED:
        return RepositoryLocked(path)
    if code in _PASSPHRASE:
        return WrongPassphrase(path)
    if code in _REPLACED:
        return RepositoryReplaced(path, expected="", found="")
    if code in _DAMAGED:
        return RepositoryDamaged(path, _DAMAGED[code])
    if code == _LOCK_NOT_MADE and not repository.exists():
        return RepositoryMissing(path)
    return BorgFailed(code, message=words[-4000:])
