"""Picking files of a snapshot for a proof."""

import random
import sqlite3
from dataclasses import dataclass

from appliance.catalogue.rows import known_with, state
from appliance.catalogue.store import Catalogue
from appliance.model import Entry, SnapshotId


@dataclass(frozen=True, slots=True)
class Sample:
    """Files picked for a proof; no file is in two of the lists."""

    newest: list[Entry]
    largest: list[Entry]
    old: list[Entry]

    @property
    def all(self) -> list[Entry]:
        """Every picked file."""
        return [*self.newest, *self.largest, *self.old]


def sample(
    catalogue: Catalogue,
    snapshot_id: SnapshotId,
    *,
    newest: int = 10,
    largest: int = 5,
    old: int = 10,
    seed: int = 0,
) -> Sample:
    """Pick regular files of a snapshot for a proof; the same seed picks the same files.

    Args:
        catalogue: of the source.
        snapshot_id: a known snapshot.
        newest: how many of those that changed in this snapshot.
        largest: how many of the largest.
        old: how many at random of the others.
        seed: of the two random picks.

    Raises:
        SnapshotMissing: the catalogue does not know the snapshot.
    """
    dice = random.Random(seed)  # noqa: S311 - a sample, not a secret
    with catalogue.reading() as c:
        known = known_with(c, snapshot_id)
        changed = [
            row[0]
            for row in c.execute(
                "SELECT file FROM version INDEXED BY version_first"
                " WHERE first > ? AND first <= ? AND kind = 'f' ORDER BY file",
                (known.before(snapshot_id), snapshot_id),
            )
        ]
        picked = dice.sample(changed, min(newest, len(changed)))
        seen = set(picked)
        big = [
            row[0]
            for row in c.execute(
                "SELECT f.file FROM version AS f WHERE f.kind = 'f' AND f.first = (SELECT"
                " max(w.first) FROM version AS w WHERE w.file = f.file AND w.first <= :at)"
                " ORDER BY f.size DESC, f.file LIMIT :many",
                {"at": snapshot_id, "many": largest + len(seen)},
            )
            if row[0] not in seen
        ][:largest]
        seen.update(big)
        others = _random_files(c, snapshot_id, old, dice, seen)
        lists = [
            [_entry_of_file(c, file, snapshot_id) for file in ids] for ids in (picked, big, others)
        ]
    return Sample(*([e for e in each if e is not None] for each in lists))


def _random_files(
    c: sqlite3.Connection, at: int, many: int, dice: random.Random, seen: set[int]
) -> list[int]:
    (largest_id,) = c.execute("SELECT coalesce(max(id), 0) FROM file").fetchone()
    found: list[int] = []
    for _ in range(20 * many if largest_id else 0):
        if len(found) == many:
            return found
        file = dice.randint(1, largest_id)
        row = c.execute(
            "SELECT kind FROM version WHERE file = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            (file, at),
        ).fetchone()
        if row is not None and row[0] == "f" and file not in seen:
            seen.add(file)
            found.append(file)
    return found


def _entry_of_file(c: sqlite3.Connection, file: int, at: int) -> Entry | None:
    parent, name = c.execute(
        "SELECT d.path, f.name FROM file AS f JOIN folder AS d ON d.id = f.folder WHERE f.id = ?",
        (file,),
    ).fetchone()
    return state(c, file, at, parent + b"/" + name if parent else name)
