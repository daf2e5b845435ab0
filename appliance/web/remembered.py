"""HTML that is remembered under everything that shows in it: nobody can be given what somebody else's facts made.

No decision is remembered, and nothing gets old: whether somebody may see a thing is asked before, with each request,
and facts that are different by anything are another key (docs/decisions/0240).
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from appliance.model import Person
from appliance.policy.roles import Action, may

#: Pages without their rows, some 18 kB each.
FRAMES: Final = 200
#: Rows, some 0.8 kB each.
ROWS: Final = 10_000
#: Where the rows go in a frame. Whatever a person can name is escaped, so no name can say this.
PLACE: Final = "<!--rows-->"
#: Between two rows, likewise.
BETWEEN: Final = "<!--row-->"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a page that is remembered: what templates may say of a visitor, and nothing of the session."""

    person: Person

    def may(self, action: Action) -> bool:
        """Return whether this person's role includes ``action``."""
        return may(self.person.role, action)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a page, each known by its facts.

    A row is made of its own facts, of ``shared``, and of the reader's language and zone: ``make`` uses nothing else.
    """

    template: str  # with ``rows``, and BETWEEN after each
    shared: tuple[tuple[str, Hashable], ...]  # name in the template, value: the same for all rows
    facts: list[Hashable]
    make: Callable[[Any, Any], object]  # from facts and ``render.Words`` to what the template shows


class Shelf:
    """Pieces of HTML by key; what was asked for longest ago goes first."""

    def __init__(self, most: int) -> None:
        """Keep ``most`` pieces."""
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[bytes, ...]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    def find(self, key: Hashable) -> tuple[bytes, ...] | None:
        """Return what was kept under ``key``, or None."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: Hashable, html: tuple[bytes, ...]) -> None:
        """Keep a piece."""
        self._kept[key] = html
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)


def filled(
    shelf: Shelf, rows: Rows, manner: tuple[Hashable, ...], make: Callable[[list[Hashable]], str]
) -> bytes:
    """Return the HTML of all rows; those that are not on the shelf are made together by one call of ``make``.

    Args:
        shelf: where rows are kept.
        rows: the rows wanted.
        manner: language and zone: what shows in a row besides its facts.
        make: from rows' facts to HTML, with BETWEEN after each row.
    """
    base = (rows.template, rows.shared, *manner)
    keys = [(base, each) for each in rows.facts]
    found = [shelf.find(key) for key in keys]
    missing = [place for place, html in enumerate(found) if html is None]
    if missing:
        made = _parted(make([rows.facts[place] for place in missing]), len(missing))
        for place, html in zip(missing, made, strict=True):
            found[place] = (html,)
            shelf.keep(keys[place], (html,))
    return b"".join([html[0] for html in found if html is not None])


def _parted(html: str, count: int) -> Iterable[bytes]:
    parts = html.split(BETWEEN)
    if len(parts) != count + 1:
        raise ValueError("a template of rows says BETWEEN after each row, once")
    return (each.encode() for each in islice(parts, count))


def parted(html: str) -> tuple[bytes, bytes]:
    """Return a frame as what comes before its rows and what comes behind; without a place, rows are not shown.

    Raises:
        ValueError: there is more than one place for them.
    """
    before, *behind = html.split(PLACE)
    if len(behind) > 1:
        raise ValueError("a template says where its rows go once")
    return before.encode(), (behind[0] if behind else "").encode()
