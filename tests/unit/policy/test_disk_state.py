"""A page says whether a disk may be taken away."""

import pytest

from appliance.language import translate
from appliance.policy.disk_state import DISK, DiskState, said


@pytest.mark.parametrize("state", list(DiskState))
def test_every_state_of_a_disk_is_said(state):
    """Only an unmounted disk may go, and only that one is green."""
    tone, text = said({DISK: {"state": state.value, "folder": "/x", "at": "2026-11-23T05:00:00"}})

    assert ("take" in text and tone == "is-good") == (state is DiskState.AWAY)
    assert translate(text, "fr") != text


@pytest.mark.parametrize("facts", [{}, {DISK: None}, {DISK: {}}, {DISK: {"state": "levitating"}}])
def test_what_is_not_known_is_not_said(facts):
    """A host has no such fact; a newer program may have other states."""
    assert said(facts) is None
