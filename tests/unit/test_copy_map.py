"""The map of the copies: nothing overlaps, nothing leaves the picture, every place has its line."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.web.pages.copy_map import (
    ICON,
    LABEL_LINES,
    LETTER_WIDTH,
    PAD,
    Names,
    Spot,
    Symbol,
    Zone,
    draw,
    shortened,
)

NAMES = Names("The practice", {zone: zone.value for zone in Zone})


def spot(zone=Zone.HOST, label="Hébergeur", where="Roubaix (FR) · 220 km", lag="2 h"):
    return Spot("/copies/a", label, zone, Symbol.HOST, where, lag, "is-good", "proven", "said")


SPOTS = st.lists(
    st.builds(
        spot,
        st.sampled_from(list(Zone)),
        st.text(max_size=120),
        st.text(max_size=120),
        st.text(max_size=40),
    ),
    max_size=9,
)


def boxes(drawing):
    return [(c.x, c.y, c.x + c.width, c.y + c.height) for c in drawing.cards] + [
        (drawing.box[0], drawing.box[1], drawing.box[0] + drawing.box[2], drawing.box[1] + drawing.box[3])
    ]  # fmt: skip


@given(SPOTS)
def test_nothing_overlaps_and_nothing_leaves_the_picture(spots):
    """Whatever people call their places, and however many there are."""
    for drawing in draw(spots, NAMES):
        assert len(drawing.cards) == len(spots)
        found = boxes(drawing)
        for place, (left, top, right, bottom) in enumerate(found):
            assert 0 <= left < right <= drawing.width
            assert 0 <= top < bottom <= drawing.height
            for other in found[place + 1 :]:
                apart = (
                    right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
                )
                assert apart, (found[place], other)
        for heading in drawing.headings:
            assert 0 < heading.y < drawing.height


@given(SPOTS)
def test_every_line_goes_from_the_box_to_its_place(spots):
    """On a phone the lines to other buildings share a trunk that begins at the box."""
    for drawing in draw(spots, NAMES):
        x, y, width, height = drawing.box
        if drawing.trunk:
            start, end = re.findall(r"M(\d+) (\d+)|V(\d+)", drawing.trunk)
            assert (int(start[0]), int(start[1])) == (x, y + height // 2)
            assert int(end[2]) == max(c.middle for c in drawing.cards)
        for card in drawing.cards:
            first = re.match(r"M(\d+) (\d+)", card.line)
            begins = int(first[1]), int(first[2])
            at_box = x <= begins[0] <= x + width and y <= begins[1] <= y + height
            assert at_box or (
                drawing.trunk and begins[0] == int(re.findall(r"H(\d+)", drawing.trunk)[0])
            )
            assert card.line.endswith(f"H{card.x}")


@given(SPOTS)
def test_only_what_is_in_the_building_is_drawn_in_it(spots):
    """A picture that puts the host into the practice would be a lie about a fire."""
    for drawing in draw(spots, NAMES):
        x, y, width, height = drawing.house
        for card in drawing.cards:
            is_inside = (
                x <= card.x and card.x + card.width <= x + width
                and y <= card.y and card.y + card.height <= y + height
            )  # fmt: skip
            assert is_inside is (card.spot.zone is Zone.HERE)


@given(st.text(max_size=300), st.integers(40, 400), st.integers(1, 3))
def test_a_label_keeps_to_its_room(text, width, lines):
    """Counted in letters; what is cut ends in «…»."""
    found = shortened(text, width, lines)

    assert len(found) <= lines
    assert all(len(line) <= max(4, width / LETTER_WIDTH) for line in found)
    assert bool(found) is bool(text.split())


def test_a_label_that_does_not_fit_says_so():
    """The whole of it is in the words beside the map."""
    room = 304 - ICON - 2 * PAD
    found = shortened("Centre de données de secours du cabinet, salle du sous-sol, baie 3", room, 2)

    assert len(found) == LABEL_LINES
    assert found[-1].endswith("…")


@pytest.mark.parametrize("place", [0, 1])
def test_far_places_stand_in_the_order_of_their_distance(place):
    """Nearest first: the second building above the host, what nobody declared at the end."""
    spots = [spot(Zone.UNDECLARED), spot(Zone.HOST), spot(Zone.ELSEWHERE), spot(Zone.HERE)]

    cards = draw(spots, NAMES)[place].cards

    assert [card.spot.zone for card in cards] == list(Zone)
    assert [heading.text for heading in draw(spots, NAMES)[place].headings] == [
        "elsewhere",
        "host",
        "undeclared",
    ]
