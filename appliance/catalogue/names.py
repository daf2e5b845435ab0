# ruff: noqa: S608 - only constants of this module are put into statements
"""Finding a file of any night by words of its name, over every source."""

import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.catalogue.schema import GONE
from appliance.catalogue.store import Catalogue, at_path, known_in, may_not_open
from appliance.catalogue.words import normalise_name, split
from appliance.errors import CatalogueError, DatabaseUnusable
from appliance.model import BOX_SOURCE, EntryKind, SnapshotId, SourceId

#: So many names are looked at closer in each catalogue, those that were met last; the newest
#: versions among them are returned. A search that matches fewer names misses none.
CANDIDATES: Final = 500
#: Below this the index of names is of no use: its tokens are three letters.
TRIGRAM: Final = 3


@dataclass(frozen=True, slots=True)
class Hit:
    """A file whose name has all the words: its newest version."""

    source_id: SourceId
    path: bytes
    kind: EntryKind
    size: int
    mtime_ns: int
    first: SnapshotId  # oldest and newest snapshot that show this version
    last: SnapshotId
    versions: int  # rows the catalogue has of this path, at least 1
    is_present: bool  # the newest snapshot of the source shows it


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found."""

    hits: list[Hit]  # newest version first
    is_more: bool  # there are further ones: more words would help
    #: Sources whose catalogue could not be read: what they hold is not in ``hits``.
    unreadable: tuple[SourceId, ...]


def find_names(
    catalogues: Path,
    words: str,
    *,
    sources: Iterable[SourceId] | None = None,
    snapshot: SnapshotId | None = None,
    limit: int = 50,
    under: bytes | None = None,
) -> Found:
    """Return the files whose name has all the words, newest version first.

    Case, accents and the words' order do not matter; a word may be any part of a name. Deleted
    files are found too. A word that only a folder above has counts where another word is in the
    name: «dupont radio» finds ``Dupont/radio.pdf``.

    Args:
        catalogues: ``settings.catalogues``.
        words: as typed; nothing is found by no word.
        sources: only these; by default every catalogue of the folder.
        snapshot: only what this snapshot shows.
        limit: hits at most.
        under: only below this folder.

    Raises:
        DatabaseUnusable: the folder of catalogues may not be read.
    """
    wanted = split(words)
    if not wanted:
        return Found([], is_more=False, unreadable=())
    if sources is None:
        sources = _every_source(catalogues)
    hits: list[Hit] = []
    unreadable: list[SourceId] = []
    is_more = False
    for source in sources:
        if source == BOX_SOURCE:
            continue  # nobody looks for files in it
        catalogue = at_path(catalogues / f"{source}.sqlite")
        try:
            found, overflows = _find_in(catalogue, wanted, snapshot, limit, under)
        except (CatalogueError, DatabaseUnusable):
            unreadable.append(source)
            continue
        hits += found
        is_more = is_more or overflows
    hits.sort(key=lambda hit: (hit.first, hit.mtime_ns, hit.path), reverse=True)
    return Found(hits[:limit], is_more or len(hits) > limit, tuple(unreadable))


def _every_source(catalogues: Path) -> list[SourceId]:
    try:
        names = os.listdir(catalogues)  # noqa: PTH208 - ``glob`` says nothing about missing rights
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise may_not_open(catalogues) from error
    found = [Path(name) for name in names]
    return sorted(
        SourceId(int(each.stem))
        for each in found
        if each.suffix == ".sqlite" and each.stem.isdecimal()
    )


_FROM_INDEX: Final = "names CROSS JOIN file AS f ON f.id = names.rowid"
_COLUMNS: Final = f"""
d.path, f.name, v.first, v.kind, v.size, v.mtime_ns,
(SELECT min(x.first) FROM version AS x WHERE x.file = f.id AND x.first > v.first),
(SELECT count(*) FROM version AS x WHERE x.file = f.id AND x.kind <> '{GONE}')
"""
_NEWEST: Final = f"""
CROSS JOIN version AS v ON v.file = f.id AND v.first = (
    SELECT max(w.first) FROM version AS w WHERE w.file = f.id AND w.kind <> '{GONE}'
)
"""
_AT: Final = f"""
CROSS JOIN version AS v ON v.file = f.id AND v.kind <> '{GONE}' AND v.first = (
    SELECT max(w.first) FROM version AS w WHERE w.file = f.id AND w.first <= :at
)
"""


def _find_in(
    catalogue: Catalogue,
    words: tuple[str, ...],
    snapshot: SnapshotId | None,
    limit: int,
    under: bytes | None,
) -> tuple[list[Hit], bool]:
    candidates = max(CANDIDATES, limit)
    with catalogue.reading() as c:
        known = known_in(c)
        if snapshot is not None and snapshot not in known:
            return [], False
        rows = _select(c, words, snapshot, under, candidates)
        is_more = len(rows) >= candidates
        if not is_more and len(words) > 1:
            rows = {**rows, **_through_folders(c, words, snapshot, under, candidates)}
        newest = known.shown_last(None)
        hits: list[Hit] = []
        for path, (first, kind, size, mtime_ns, following, versions) in rows.items():
            shown, last = known.shown_first(first), known.shown_last(following)
            if shown is None or last is None:
                continue
            hits.append(
                Hit(
                    catalogue.source_id,
                    path,
                    EntryKind(kind),
                    size,
                    mtime_ns,
                    shown,
                    last,
                    versions,
                    last == newest,
                )
            )
    hits.sort(key=lambda hit: (hit.first, hit.mtime_ns, hit.path), reverse=True)
    return hits[: limit + 1], is_more


_Row = tuple[int, str, int, int, int | None, int]


def _trigrams(word: str) -> list[str]:
    # Side by side and not overlapping: half as many lists to intersect, hardly more names.
    last = len(word) - TRIGRAM
    starts = [*range(0, last, TRIGRAM), last] if last >= 0 else []
    return [word[start : start + TRIGRAM] for start in starts]


def _select(
    c: sqlite3.Connection,
    words: tuple[str, ...],
    snapshot: SnapshotId | None,
    under: bytes | None,
    limit: int,
) -> dict[bytes, _Row]:
    """Return the rows of names that have all the words, by path, the last met names first."""
    values: dict[str, object] = {"at": snapshot, "limit": limit}
    trigrams = dict.fromkeys(each for word in words for each in _trigrams(word))
    where: list[str] = []
    if trigrams:
        # Letters three by three say which names may have the word; ``instr`` says which have it.
        values["match"] = " AND ".join('"' + each.replace('"', '""') + '"' for each in trigrams)
        where.append("names MATCH :match")
    for place, word in enumerate(words):
        if len(word) != TRIGRAM:
            values[f"word{place}"] = word
            where.append(f"instr(f.norm, :word{place}) > 0")
    if under:
        values |= {"path": under, "low": under + b"/", "high": under + b"0"}
        where.append("(d.path = :path OR (d.path > :low AND d.path < :high))")
    origin = f"{_FROM_INDEX}" if trigrams else "file AS f"
    order = "names.rowid" if trigrams else "f.id"
    rows = c.execute(
        f"SELECT {_COLUMNS} FROM {origin} {_NEWEST if snapshot is None else _AT}"
        f" CROSS JOIN folder AS d ON d.id = f.folder WHERE {' AND '.join(where)}"
        f" ORDER BY {order} DESC LIMIT :limit",
        values,
    )
    return {parent + b"/" + name if parent else name: tuple(row) for parent, name, *row in rows}


def _through_folders(
    c: sqlite3.Connection,
    words: tuple[str, ...],
    snapshot: SnapshotId | None,
    under: bytes | None,
    limit: int,
) -> dict[bytes, _Row]:
    """Return the names that have one of the words and have the others in the folders above."""
    found: dict[bytes, _Row] = {}
    for word in words:
        if len(word) < TRIGRAM:
            continue
        for path, row in _select(c, (word,), snapshot, under, limit).items():
            whole = normalise_name(path)
            if all(each in whole for each in words):
                found[path] = row
    return found
