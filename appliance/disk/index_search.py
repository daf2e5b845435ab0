# ruff: noqa: S608 - only constants of this module are put into statements
"""Finding files of the shares by words of their names and of their texts.

A search is given the shares a person may see, and opens their indexes only: rights come before any limit.
"""

import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from appliance.db.shares import Share
from appliance.db.sqlite_file import Access, open_sqlite
from appliance.disk import index_rarity
from appliance.disk.index_excerpt import Piece, around
from appliance.disk.index_file import (
    APPLICATION_ID,
    FORMAT,
    GONE,
    ROOT,
    WAITING,
    path_of,
    unpacked,
)
from appliance.disk.index_rarity import TRIGRAM
from appliance.policy.plain_words import split
from appliance.settings import Settings

#: So many that match are looked at closer in each share, those met last.
CANDIDATES: Final = 200
#: Folders with a word whose contents are looked through for the other words, and how much of each.
FOLDERS: Final = 40
BELOW: Final = 1_000
#: Words of a search; more are passed over.
MOST_WORDS: Final = 12


class Place(StrEnum):
    """Where words are looked for."""

    NAMES = "names"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True)
class Hit:
    """A file or folder that was found."""

    share: Share
    path: bytes
    kind: str  # d · f · l · o
    size: int
    mtime_ns: int
    snippet: tuple[Piece, ...] = ()  # of a text


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found."""

    hits: list[Hit]  # best first: words that begin a word of the name, then the last changed
    is_more: bool  # there are further ones: another word would help
    is_short: bool  # no word is long enough to be looked for
    #: Shares whose index is not there yet or could not be read: what they hold is not in ``hits``.
    unready: tuple[Share, ...]
    waiting: int  # files of these shares whose text is not read yet


@dataclass(frozen=True, slots=True)
class _Near:
    rank: int
    hit: Hit


def find(
    settings: Settings,
    shares: Sequence[Share],
    words: str,
    *,
    place: Place = Place.NAMES,
    limit: int = 50,
) -> Found:
    """Return what has all the words, in its name or in its text.

    Case, accents and the words' order do not matter. In names a word may be any part, and one that only a
    folder above has counts: «dupont radio» finds ``Dupont/radio.pdf``. In texts words are whole; the last one
    may be begun only.

    Args:
        settings: of the box.
        shares: those on which the person has the right SEE, and no other.
        words: as typed.
        place: names or texts.
        limit: hits at most.
    """
    wanted = split(words.replace("\0", " "))[:MOST_WORDS]
    long = any(len(each) >= TRIGRAM for each in wanted)
    if not long and place is Place.NAMES:
        return Found([], is_more=False, is_short=bool(wanted), unready=(), waiting=0)
    near: list[_Near] = []
    unready: list[Share] = []
    is_more, waiting = False, 0
    for share in shares:
        try:
            path = path_of(settings, share.id)
            with _opened(path) as connection:
                if place is Place.NAMES:
                    known = index_rarity.common(path, connection)
                    found, overflows = _names(connection, share, wanted, limit, known)
                else:
                    found, overflows = _texts(connection, share, wanted, limit)
                    waiting += _count_waiting(connection)
        except sqlite3.Error:
            unready.append(share)
            continue
        near += found
        is_more = is_more or overflows
    near.sort(key=lambda each: (each.rank, each.hit.mtime_ns, each.hit.path), reverse=True)
    return Found(
        [each.hit for each in near[:limit]],
        is_more or len(near) > limit,
        is_short=False,
        unready=tuple(unready),
        waiting=waiting,
    )


# --- connections are kept open: opening one takes as long as half a search -------------------

#: Idle connections of one index; the file they are open on keeps its inode for as long.
IDLE: Final = 2
MOST_IDLE: Final = 64  # indexes
_idle: dict[Path, tuple[int, list[sqlite3.Connection]]] = {}
_door: Final = threading.Lock()


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to an index nobody else uses now; not one to a file that was made anew since.

    Raises:
        sqlite3.Error: there is none, or it is damaged.
    """
    try:
        inode = path.stat().st_ino
    except OSError as error:
        _let_go(path, None)
        raise sqlite3.OperationalError from error
    _let_go(path, inode)
    with _door:
        held = _idle.get(path)
        connection = held[1].pop() if held and held[1] else None
    if connection is None:
        connection = open_sqlite(path, Access.READ)
    try:
        _demand_ours(connection)
        yield connection
    except BaseException:
        connection.close()
        raise
    with _door:
        known, kept = _idle.setdefault(path, (inode, []))
        if known == inode and len(kept) < IDLE:
            kept.append(connection)
            first = next(iter(_idle)) if len(_idle) > MOST_IDLE else path
            old = _idle.pop(first)[1] if first != path else []
            for each in old:
                each.close()
            return
    connection.close()


def _let_go(path: Path, inode: int | None) -> None:
    """Close what is open on a former file of this name."""
    with _door:
        held = _idle.get(path)
        old = _idle.pop(path)[1] if held is not None and held[0] != inode else []
    for each in old:
        each.close()


def _demand_ours(connection: sqlite3.Connection) -> None:
    known = connection.execute("PRAGMA application_id").fetchone()[0]
    form = connection.execute("PRAGMA user_version").fetchone()[0]
    if (known, form) != (APPLICATION_ID, FORMAT):
        raise sqlite3.DatabaseError


def _count_waiting(connection: sqlite3.Connection) -> int:
    return int(
        connection.execute(
            f"SELECT count(*) FROM (SELECT 1 FROM entry WHERE text = {WAITING} LIMIT 10000)"
        ).fetchone()[0]
    )


# --- names ----------------------------------------------------------------------------------

_Values = tuple[int, int, bytes, str, str, int, int]  # id, parent, name, norm, kind, size, mtime_ns
_FIELDS: Final = "e.id, e.parent, e.name, e.norm, e.kind, e.size, e.mtime_ns"


class _Ways:
    """Paths of entries, each folder looked up once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[int, bytes | None] = {ROOT: b"", GONE: None, 0: None}

    def of(self, folder: int, depth: int = 0) -> bytes | None:
        """Return the path of a folder; None when nothing leads up from it."""
        if folder in self._known:
            return self._known[folder]
        row = self._connection.execute(
            "SELECT parent, name FROM entry WHERE id = ?", (folder,)
        ).fetchone()
        above = None if row is None or depth > 200 else self.of(row[0], depth + 1)
        found = None if above is None else _joined(above, row[1])
        self._known[folder] = found
        return found


def _joined(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def _select(
    connection: sqlite3.Connection,
    table: str,
    words: Sequence[str],
    limit: int,
    known: Counter[str],
) -> list[_Values]:
    """Return the entries whose name has all the words, the last met first."""
    chosen = index_rarity.rarest(words, known)
    match = " AND ".join('"' + each.replace('"', '""') + '"' for each in chosen)
    values: list[object] = [match]
    where = [f"{table} MATCH ?"]
    for word in words:
        if word not in chosen:  # letters three by three say which may have it; ``instr`` which have
            where.append("instr(e.norm, ?) > 0")
            values.append(word)
    values.append(limit)
    return connection.execute(
        f"SELECT {_FIELDS} FROM {table} CROSS JOIN entry AS e ON e.id = {table}.rowid"
        f" WHERE {' AND '.join(where)} ORDER BY {table}.rowid DESC LIMIT ?",
        values,
    ).fetchall()


def _names(
    connection: sqlite3.Connection,
    share: Share,
    words: Sequence[str],
    limit: int,
    known: Counter[str],
) -> tuple[list[_Near], bool]:
    candidates = max(CANDIDATES, limit)
    rows = _select(connection, "names", words, candidates, known)
    is_more = len(rows) >= candidates
    found = {row[0]: row for row in rows}
    if len(words) > 1 and len(rows) < limit:
        for row in _through_folders(connection, words, known):
            found.setdefault(row[0], row)
    best = sorted(
        ((_rank(row[3], words), row[6], row) for row in found.values()),
        key=lambda each: each[:2],
        reverse=True,
    )
    ways = _Ways(connection)
    near: list[_Near] = []
    for rank, mtime_ns, (entry_id, parent, name, _norm, kind, size, _) in best:
        if len(near) >= limit:
            return near, True
        above = ways.of(parent)  # asked last: it takes longest
        if above is not None and entry_id != ROOT:
            near.append(_Near(rank, Hit(share, _joined(above, name), kind, size, mtime_ns)))
    return near, is_more


def _through_folders(
    connection: sqlite3.Connection, words: Sequence[str], known: Counter[str]
) -> list[_Values]:
    """Return what lies in folders that have some of the words, and has the others itself or on its way."""
    found: list[_Values] = []
    seen: set[int] = set()
    left = BELOW
    for word in words:
        if len(word) < TRIGRAM:
            continue
        for folder in _select(connection, "folder_names", (word,), FOLDERS, known):
            # Breadth first and bounded: a folder of everything is not walked to its end.
            front = [(folder[0], frozenset(each for each in words if each not in folder[3]))]
            while front and left > 0:
                inside, missing = front.pop(0)
                if inside in seen:
                    continue
                seen.add(inside)
                rows: list[_Values] = connection.execute(
                    f"SELECT {_FIELDS} FROM entry AS e WHERE e.parent = ? LIMIT ?", (inside, left)
                ).fetchall()
                left -= len(rows)
                for row in rows:
                    still = frozenset(each for each in missing if each not in row[3])
                    if not still and len(missing) > len(still):
                        found.append(row)
                    if row[4] == "d":
                        front.append((row[0], still))
    return found


def _rank(norm: str, words: Sequence[str]) -> int:
    """Return how well a name answers: 2 for each word that begins it, 1 that begins a word of it."""
    rank = 0
    for word in words:
        at = norm.find(word)
        if at == 0:
            rank += 2
        while at > 0:
            if not norm[at - 1].isalnum():
                rank += 1
                break
            at = norm.find(word, at + 1)
    return rank


# --- texts ----------------------------------------------------------------------------------

_WORDS: Final = re.compile(r"[^\W_]+")


def _texts(
    connection: sqlite3.Connection, share: Share, words: Sequence[str], limit: int
) -> tuple[list[_Near], bool]:
    # What FTS5 takes for a word: letters and digits; the rest parts them.
    plain = [each for word in words for each in _WORDS.findall(word)]
    if not plain:
        return [], False
    begun = len(plain[-1]) >= TRIGRAM and words[-1].endswith(plain[-1])
    match = " AND ".join(f'"{each}"' for each in plain) + ("*" if begun else "")
    candidates = max(CANDIDATES, limit)
    rows = connection.execute(
        f"SELECT {_FIELDS} FROM words CROSS JOIN entry AS e ON e.id = words.rowid"
        " WHERE words MATCH ? ORDER BY words.rowid DESC LIMIT ?",
        (match, candidates),
    ).fetchall()
    rows.sort(key=lambda row: row[6], reverse=True)
    ways = _Ways(connection)
    near: list[_Near] = []
    for entry_id, parent, name, _norm, kind, size, mtime_ns in rows:
        above = ways.of(parent)
        if above is None:
            continue
        if len(near) >= limit:
            return near, True
        stored = connection.execute("SELECT raw FROM page WHERE id = ?", (entry_id,)).fetchone()
        snippet = () if stored is None else around(unpacked(stored[0]), plain)
        near.append(_Near(0, Hit(share, _joined(above, name), kind, size, mtime_ns, snippet)))
    return near, len(rows) >= candidates
