"""Which three letters of a word are rare in a share: those say most about where it stands.

The index of names holds a list of entries for each three letters. To meet them all for a long word costs the length of
the lists; the three shortest say almost the same (docs/decisions/0191: 15 ms → 5 ms over a million names). How long the lists
are is estimated from some 2,000 names, once in a while; a wrong guess costs time and no answer.
"""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

TRIGRAM: Final = 3
#: So many lists are met for a search; more cost more than they spare.
LISTS: Final = 3
#: Names that are looked at, in so many places of the index: a disk that turns goes to each.
PLACES: Final = 96
IN_EACH: Final = 21
#: Seconds for which an estimate is believed.
BELIEVED_S: Final = 3_600.0
MOST_KNOWN: Final = 64  # indexes

_known: dict[Path, tuple[float, Counter[str]]] = {}
_door: Final = threading.Lock()


def trigrams(word: str) -> list[str]:
    """Return each three letters of ``word`` that stand together; none of a shorter one."""
    return [word[start : start + TRIGRAM] for start in range(len(word) - TRIGRAM + 1)]


def rarest(words: Sequence[str], common: Counter[str]) -> list[str]:
    """Return the three letters to look for: LISTS at most, the rarest of all words first."""
    each = dict.fromkeys(trigram for word in words for trigram in trigrams(word))
    return sorted(each, key=lambda trigram: common[trigram])[:LISTS]


def common(path: Path, connection: sqlite3.Connection) -> Counter[str]:
    """Return how many of some names of the index at ``path`` have each three letters.

    Raises:
        sqlite3.Error: the index is damaged.
    """
    now = time.monotonic()
    with _door:
        found = _known.get(path)
    if found is not None and now - found[0] < BELIEVED_S:
        return found[1]
    counted: Counter[str] = Counter()
    last = connection.execute("SELECT max(id) FROM entry").fetchone()[0] or 0
    step = max(IN_EACH, last // PLACES)
    for start in range(0, last + 1, step):
        rows = connection.execute(
            "SELECT norm FROM entry WHERE id >= ? ORDER BY id LIMIT ?", (start, IN_EACH)
        )
        for (norm,) in rows:
            counted.update(set(trigrams(norm)))
    with _door:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[path] = now, counted
    return counted
