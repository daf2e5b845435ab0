"""Undoing what a client did to an append-only repository: back to an earlier transaction.

`borg serve --append-only` never removes a segment, so a deletion made by a machine is only a later
transaction. Going back moves what came after aside (nothing is deleted here, beam 6) and lets Borg
make its index again. docs/recover-from-client-delete.md tells a person how.

Source: Borg 1.4 manual, «Append-only mode», example of removing transactions.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from appliance.backup_jobs.borg_library_opening import check_identity
from appliance.errors import InvalidInput, RepositoryLocked
from appliance.language import mark

_LINE: Final = re.compile(r"transaction (\d+), UTC time (\S+)")
_MADE_AGAIN: Final = ("index.", "hints.", "integrity.")


@dataclass(frozen=True, slots=True)
class Transaction:
    """One commit that came through `borg serve --append-only`."""

    number: int  # the segment its commit is in
    at: datetime


def transactions(repository: Path) -> list[Transaction]:
    """Return the commits made in append-only mode, oldest first; an unreadable line is left out."""
    path = repository / "transactions"
    if not path.exists():
        return []
    found = []
    for line in path.read_text("utf-8", "replace").splitlines():
        match = _LINE.fullmatch(line.strip())
        if match:
            at = datetime.fromisoformat(match[2])
            found.append(Transaction(int(match[1]), at.replace(tzinfo=at.tzinfo or UTC)))
    return found


def roll_back(repository: Path, transaction: int, *, expected_id: str, home: Path) -> Path:
    """Make the repository what it was right after ``transaction``; return where the rest was moved.

    Call it while nobody works on the repository; then run `borg check`. Safe to run again.

    Args:
        repository: its folder.
        transaction: a number of ``transactions``.
        expected_id: 64 hex digits that must be found there.
        home: Borg's home on this box, which remembers the newest state it has seen.

    Raises:
        RepositoryMissing, RepositoryReplaced: nothing was moved.
        RepositoryLocked: somebody works on it.
        InvalidInput: there is no such transaction, or its segment was compacted away since.
    """
    check_identity(repository, expected_id)
    if (repository / "lock.exclusive").exists():
        raise RepositoryLocked(str(repository))
    segments = {
        int(path.name): path for path in (repository / "data").glob("*/*") if path.name.isdigit()
    }
    if transaction not in segments or transaction not in {
        one.number for one in transactions(repository)
    }:
        raise InvalidInput("transaction", mark("It must be one that is still in the repository."))
    aside = repository.with_name(f"{repository.name}.after-{transaction}")
    aside.mkdir(mode=0o700, exist_ok=True)
    # Highest first: a cut half-way leaves a repository that ends earlier, never one with a hole.
    for number in sorted(segments, reverse=True):
        if number > transaction:
            segments[number].rename(aside / str(number))
    for path in repository.iterdir():
        if path.name.startswith(_MADE_AGAIN):
            path.rename(aside / path.name)
    # Without these Borg would take the older state for a replayed one. The nonces stay: they only grow.
    for known in (
        home / ".config" / "borg" / "security" / expected_id / "manifest-timestamp",
        home / ".cache" / "borg" / expected_id / "config",
    ):
        known.unlink(missing_ok=True)
    return aside
