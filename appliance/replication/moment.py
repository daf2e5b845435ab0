"""A consistent moment of a repository: its committed files, hard-linked aside under Borg's lock.

Costs seconds, not the length of the upload: afterwards backups, prunes and compacts go on while the links
keep the bytes. Committed segments never change; what is newer than the last committed index is left out.
Source: Borg 1.4 internals, «Repository»: index.N and hints.N are written when transaction N is committed.
"""

import os
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from appliance.errors import RepositoryDamaged, RepositoryMissing
from appliance.replication.plan import LocalFile

#: Beside the segments: what Borg needs to open the repository again.
_SMALL: Final = ("config", "README", "nonce")
_TRANSACTION: Final = re.compile(r"(index|hints|integrity)\.(\d+)")


def freeze(
    repository: Path,
    source_id: int,
    into: Path,
    *,
    locked: Callable[[], AbstractContextManager[object]],
) -> list[LocalFile]:
    """Hard-link the committed files of ``repository`` below ``into`` and return them.

    Args:
        repository: of Borg 1.4, on the same file system as ``into``.
        source_id: how the files are told from those of other repositories.
        into: a folder of this moment's own; what an earlier attempt left there is removed.
        locked: takes Borg's lock, so that no transaction is half written.

    Raises:
        RepositoryMissing: nothing lies there.
        RepositoryDamaged: no committed transaction is there.
        RepositoryLocked: from ``locked``.
    """
    if not (repository / "config").is_file():
        raise RepositoryMissing(str(repository))
    if into.exists():
        shutil.rmtree(into)
    into.mkdir(parents=True, mode=0o700)
    made = {""}
    with locked():
        found = []
        for relative, facts in _committed(repository):
            folder = relative.rpartition("/")[0]
            if folder not in made:
                (into / folder).mkdir(parents=True, exist_ok=True)
                made.add(folder)
            copy = f"{into}/{relative}"
            if relative in _SMALL:
                shutil.copy2(repository / relative, copy)  # Borg rewrites these in place
            else:
                os.link(f"{repository}/{relative}", copy)
            found.append(LocalFile(source_id, relative, facts.st_size, facts.st_mtime_ns))
    return sorted(found)


def _committed(repository: Path) -> list[tuple[str, os.stat_result]]:
    """Return path and facts of every file of the last committed transaction. Plain strings: they are many."""
    transactions: dict[str, dict[int, os.DirEntry[str]]] = {}
    beside = {}
    with os.scandir(repository) as entries:
        for entry in entries:
            match = _TRANSACTION.fullmatch(entry.name)
            if match:
                transactions.setdefault(match[1], {})[int(match[2])] = entry
            elif entry.name in _SMALL and entry.is_file():
                beside[entry.name] = entry
    last = max(transactions.get("index", {}), default=None)
    segments: list[tuple[int, str, os.stat_result]] = []
    with os.scandir(repository / "data") as folders:
        for folder in folders:
            with os.scandir(folder) as entries:
                segments += [
                    (int(entry.name), f"data/{folder.name}/{entry.name}", entry.stat())
                    for entry in entries
                    if entry.name.isdigit()
                ]
    if last is None:
        if segments:
            raise RepositoryDamaged(str(repository), "no committed transaction was found")
        last = -1  # made, never written to
    chosen = [(path, facts) for number, path, facts in sorted(segments) if number <= last]
    chosen += [(name, beside[name].stat()) for name in _SMALL if name in beside]
    chosen += [
        (entries_of[last].name, entries_of[last].stat())
        for entries_of in transactions.values()
        if last in entries_of
    ]
    return chosen
