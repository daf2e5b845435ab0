"""The style sheet can be read by people who see less well."""

import re
from importlib.resources import files

import pytest

SHEET = files("appliance.web").joinpath("static", "app.css").read_text()
TOKENS = {
    name: (light, dark)
    for name, light, dark in re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", SHEET
    )
}
#: Text and what it stands on.
TEXTS = [
    *((text, ground) for text in ("ink", "soft") for ground in ("paper", "card", "raised")),
    *((text, f"{tone}-wash") for tone in ("good", "warn", "bad", "accent") for text in ("ink", "soft")),
    *((tone, f"{tone}-wash") for tone in ("good", "warn", "bad", "accent")),
    *((tone, "card") for tone in ("good", "warn", "bad", "accent")),
    ("accent", "paper"),
    ("accent-ink", "accent"),
]  # fmt: skip


def _luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    """Source: WCAG 2.1, «contrast ratio»."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXTS, ids=lambda name: name)
def test_text_stands_out_from_what_it_stands_on(text, ground, scheme):
    """WCAG AA: 4.5 to 1."""
    assert contrast(TOKENS[text][scheme], TOKENS[ground][scheme]) >= 4.5


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_the_edge_of_a_field_can_be_seen(scheme):
    """WCAG AA for parts one works with: 3 to 1."""
    assert contrast(TOKENS["strong-line"][scheme], TOKENS["card"][scheme]) >= 3


def test_movement_stops_for_who_asks_for_it():
    """prefers-reduced-motion."""
    assert "prefers-reduced-motion" in SHEET
