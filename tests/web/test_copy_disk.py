"""The page of a disk says whether it may be taken away."""

import pytest

from appliance.db import targets
from appliance.policy.disk_state import DISK, DiskState


def put(database, row, state):
    with database.write() as connection:
        fact = {"state": state, "folder": "/run/x", "at": "2026-11-23T05:00:00+00:00"}
        targets.set_facts(connection, row.id, {DISK: fact})


@pytest.mark.parametrize(
    ("state", "words", "tone"),
    [
        (DiskState.COPYING.value, "leave it plugged in", "is-warn"),
        (DiskState.AWAY.value, "it may be taken away", "is-good"),
        (DiskState.PULLED_OUT.value, "went while a copy was under way", "is-bad"),
    ],
)
def test_a_disk_says_whether_it_may_go(owner, copied, database, state, words, tone):
    """Only once it is unmounted is it said that it may."""
    put(database, copied.disk, state)

    page = owner.get(f"/copies/{copied.disk.name}").text

    assert f'<div class="note {tone}"><p>' in page
    assert words in page


def test_a_host_says_nothing_of_a_disk(owner, copied):
    """Nor does a disk that was never plugged in."""
    for row in (copied.host, copied.disk):
        page = owner.get(f"/copies/{row.name}").text
        assert "taken away" not in page
        assert "leave it plugged in" not in page
