"""The picture of the copies on a simple map of places: what lies where, as figures a template draws.

Pure: words come in already in the reader's language, lengths are in the units of the drawing. Two
drawings are made of the same places, one for a screen and one for a phone; the style sheet shows one.
Letters are counted, not measured: a label is cut a little too early rather than written over its edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from textwrap import wrap
from typing import Final

#: Of one letter of the map's 15 px type, on the safe side: French labels measure 7.1 to 7.9.
LETTER_WIDTH: Final = 8.3
LINE: Final = 21  # from one line of text to the next
PAD: Final = 14
ICON: Final = 40  # the symbol's square at the left of a card
GAP: Final = 14  # between two cards
HEADING: Final = 30  # room of a heading above its cards
LABEL_LINES: Final = 2
WHERE_LINES: Final = 2


class Zone(StrEnum):
    """In which part of the map a copy lies, nearest first."""

    HERE = "here"  # in the building of the box
    ELSEWHERE = "elsewhere"  # another building of the practice, or a disk taken away
    HOST = "host"  # a certified host
    UNDECLARED = "undeclared"  # an owner doctor has not said what the place is, or it is refused


class Symbol(StrEnum):
    """What is drawn at the left of a card."""

    BOX = "box"
    DISK = "disk"
    BUILDING = "building"
    HOST = "host"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Spot:
    """One copy, in words."""

    href: str
    label: str
    zone: Zone
    symbol: Symbol
    where: str  # city and distance, or what is known instead; "": nothing
    lag: str  # «2 hours ago», «nothing yet»
    tone: str  # is-good · is-warn · is-bad · is-calm · is-busy
    state: str  # the tone's word
    said: str  # the whole truth about it in a sentence, for who listens
    is_away: bool = False  # a disk that is not plugged in
    is_sending: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """A spot with its place in the drawing."""

    spot: Spot
    x: int
    y: int
    width: int
    height: int
    label: tuple[str, ...]
    where: tuple[str, ...]
    state: str
    line: str  # the path from the box, as SVG writes it
    lag_at: (
        tuple[int, int] | None
    )  # the middle of the lag's label on the line; None: inside the card
    lag_width: int = 0

    @property
    def middle(self) -> int:
        """The height at which its line arrives."""
        return self.y + self.height // 2


@dataclass(frozen=True, slots=True)
class Heading:
    """A name above cards."""

    text: str
    x: int
    y: int  # of its base line


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything the template needs."""

    name: str  # wide · tall
    width: int
    height: int
    house: tuple[int, int, int, int]  # x, y of the eaves, width, height below them
    roof: str
    house_name: Heading
    box: tuple[int, int, int, int]
    trunk: str  # the common line of a tall drawing; "": none
    headings: tuple[Heading, ...]
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """The words of the map itself."""

    practice: str
    zones: dict[Zone, str]


def draw(spots: Sequence[Spot], names: Names) -> tuple[Drawing, Drawing]:
    """Return the drawing for a screen and the one for a phone."""
    ordered = [spot for zone in Zone for spot in spots if spot.zone is zone]
    return _wide(ordered, names), _tall(ordered, names)


def shortened(text: str, width: float, lines: int) -> tuple[str, ...]:
    """Return ``text`` in at most ``lines`` lines of ``width``; what does not fit ends in «…»."""
    letters = max(4, int(width / LETTER_WIDTH))
    words = " ".join(text.split())
    if not words:
        return ()
    found = wrap(words, letters, break_long_words=True)
    if len(found) <= lines:
        return tuple(found)
    kept = found[:lines]
    kept[-1] = kept[-1][: letters - 1].rstrip() + "…"
    return tuple(kept)


_BOX_HEIGHT: Final = 76
_ROOF: Final = 46


def _wide(spots: Sequence[Spot], names: Names) -> Drawing:
    width, house_x, house_width = 1040, 10, 350
    here = [spot for spot in spots if spot.zone is Zone.HERE]
    away = [spot for spot in spots if spot.zone is not Zone.HERE]
    box = (house_x + 20, _ROOF + HEADING + 14, house_width - 40, _BOX_HEIGHT)
    inside, y = _disks(here, box, house_width)
    cards_x, cards_width, line_x = 620, width - 620 - 10, 440
    cards: list[Card] = []
    headings: list[Heading] = []
    far_y = 10
    start_x, start_y = box[0] + box[2], box[1] + box[3] // 2
    for zone in Zone:
        mine = [spot for spot in away if spot.zone is zone]
        if not mine:
            continue
        headings.append(Heading(names.zones[zone], cards_x, far_y + 18))
        far_y += HEADING
        for spot in mine:
            label, where, state, height = _texts(spot, cards_width, has_lag=False)
            middle = far_y + height // 2
            lag_width = _label_width(spot.lag)
            line = (
                f"M{start_x} {start_y}C{line_x} {start_y} {line_x} {middle} {line_x + 30} {middle}"
                f"H{cards_x}"
            )
            lag_at = (cards_x - 12 - lag_width // 2, middle)
            cards.append(
                Card(
                    spot,
                    cards_x,
                    far_y,
                    cards_width,
                    height,
                    label,
                    where,
                    state,
                    line,
                    lag_at,
                    lag_width,
                )
            )
            far_y += height + GAP
        far_y += 6
    bottom = max(y, far_y) + 6
    return Drawing(
        "wide",
        width,
        bottom + 10,
        (house_x, _ROOF, house_width, bottom - _ROOF),
        f"M{house_x - 8} {_ROOF}L{house_x + house_width // 2} 6L{house_x + house_width + 8} {_ROOF}Z",
        Heading(names.practice, house_x + 20, _ROOF + 26),
        box,
        "",
        tuple(headings),
        (*inside, *cards),
    )


def _tall(spots: Sequence[Spot], names: Names) -> Drawing:
    width, house_x, house_width = 360, 10, 340
    here = [spot for spot in spots if spot.zone is Zone.HERE]
    away = [spot for spot in spots if spot.zone is not Zone.HERE]
    box = (house_x + 14, _ROOF + HEADING + 14, house_width - 28, _BOX_HEIGHT)
    inside, y = _disks(here, box, house_width)
    house = (house_x, _ROOF, house_width, y - _ROOF)
    trunk_x, cards_x = house_x + 6, house_x + 30
    cards_width = width - cards_x - 10
    y += GAP
    cards: list[Card] = []
    headings: list[Heading] = []
    for zone in Zone:
        mine = [spot for spot in away if spot.zone is zone]
        if not mine:
            continue
        headings.append(Heading(names.zones[zone], cards_x, y + 20))
        y += HEADING
        for spot in mine:
            label, where, state, height = _texts(spot, cards_width, has_lag=True)
            middle = y + height // 2
            line = f"M{trunk_x} {middle}H{cards_x}"
            cards.append(
                Card(spot, cards_x, y, cards_width, height, label, where, state, line, None)
            )
            y += height + GAP
    middle = box[1] + box[3] // 2
    trunk = ""
    if cards:
        # Down along the wall of the house, from the box to the last card.
        trunk = f"M{box[0]} {middle}H{trunk_x}V{cards[-1].middle}"
    return Drawing(
        "tall",
        width,
        y + 4,
        house,
        f"M{house_x - 8} {_ROOF}L{house_x + house_width // 2} 6L{house_x + house_width + 8} {_ROOF}Z",
        Heading(names.practice, house_x + 14, _ROOF + 26),
        box,
        trunk,
        tuple(headings),
        (*inside, *cards),
    )


def _disks(
    spots: Sequence[Spot], box: tuple[int, int, int, int], house_width: int
) -> tuple[list[Card], int]:
    """Return the cards inside the house, and the height at which the house may end."""
    x, width = box[0] + 26, box[2] - 26
    y = box[1] + box[3] + GAP
    cards: list[Card] = []
    for spot in spots:
        label, where, state, height = _texts(spot, width, has_lag=True)
        line = f"M{box[0] + 12} {box[1] + box[3]}V{y + height // 2}H{x}"
        cards.append(Card(spot, x, y, width, height, label, where, state, line, None))
        y += height + GAP
    assert all(card.width < house_width for card in cards)  # noqa: S101 - of our own numbers
    return cards, y + 4


def _texts(
    spot: Spot, width: int, *, has_lag: bool
) -> tuple[tuple[str, ...], tuple[str, ...], str, int]:
    room = width - ICON - 2 * PAD
    label = shortened(spot.label, room, LABEL_LINES)
    # Bold letters are wider; what stands under the label is set smaller.
    where = shortened(spot.where, room * 1.08, WHERE_LINES)
    lines = len(label) + len(where) + 1 + (1 if has_lag else 0)
    state = " ".join(shortened(spot.state, room - LINE, 1))
    return label, where, state, 2 * 10 + LINE * lines


def _label_width(text: str) -> int:
    return min(170, int(len(text) * LETTER_WIDTH * 0.92) + 22)
