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
    with locked():
        chosen = _committed(repository)
        found = []
        for path in chosen:
            relative = path.relative_to(repository)
            copy = into / relative
            copy.parent.mkdir(parents=True, exist_ok=True)
            if relative.name in _SMALL:
                shutil.copy2(path, copy)  # Borg rewrites these in place
            else:
                os.link(path, copy)
            facts = copy.stat()
            found.append(
                LocalFile(source_id, relative.as_posix(), facts.st_size, facts.st_mtime_ns)
            )
    return sorted(found)


def _committed(repository: Path) -> list[Path]:
    transactions: dict[str, dict[int, Path]] = {}
    for path in repository.iterdir():
        match = _TRANSACTION.fullmatch(path.name)
        if match:
            transactions.setdefault(match[1], {})[int(match[2])] = path
    last = max(transactions.get("index", {}), default=None)
    segments = [
        (int(path.name), path)
        for folder in (repository / "data").iterdir()
        for path in folder.iterdir()
        if path.name.isdigit()
    ]
    if last is None:
        if segments:
            raise RepositoryDamaged(str(repository), "no committed transaction was found")
        last = -1  # made, never written to
    chosen = [path for number, path in sorted(segments) if number <= last]
    chosen += [repository / name for name in _SMALL if (repository / name).is_file()]
    chosen += [paths[last] for paths in transactions.values() if last in paths]
    return chosen
