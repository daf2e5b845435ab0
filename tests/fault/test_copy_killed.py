"""kill -9 of a push at random lines, on every kind of place, then again: nothing is lost, nothing is half.

Recovery and garbage collection are killed in ``test_copy_recover_killed.py`` and ``test_copy_garbage_killed.py``.
"""

import random

import pytest

from tests.support.copy_places import (
    KINDS,
    Practice,
    bring_back,
    generations,
    place_of,
    run_killed,
)

pytestmark = [pytest.mark.integration, pytest.mark.fault]
KILLS = 4


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    server = request.getfixturevalue("s3_server") if request.param == "s3" else None
    with place_of(request.param, tmp_path / "place", server) as one:
        yield one


def test_a_push_killed_at_random_lines_loses_nothing_and_shows_no_half_generation(place, tmp_path):
    """The generation of the night before stays whole under every kill; the next one comes once, whole."""
    practice = Practice(tmp_path / "box")
    practice.night(files=3)
    status, lines = run_killed(lambda: practice.push(place.open, connections=2))
    assert status == 0
    assert generations(place) == [1]
    before = practice.contents()
    practice.night(files=5, drop=1)
    chance = random.Random(41)
    kills = 0
    for _ in range(4 * KILLS):
        # A run that follows has less to do: points near the beginning, and a few beyond the end.
        point = chance.randrange(1, lines)
        status, _ = run_killed(lambda: practice.push(place.open, connections=2), at_line=point)
        assert status in {0, -9}
        kills += status == -9
        shown = generations(place)
        assert shown[-1] == 1
        if status == 0 or kills == KILLS:
            break
        assert shown in ([1], [2, 1])

    pushed = practice.push(place.open, connections=2)

    assert kills > 0
    shown = generations(place)
    assert shown == list(range(pushed.number, 0, -1))
    assert bring_back(place, 1, tmp_path / "first") == before
    assert bring_back(place, pushed.number, tmp_path / "last") == practice.contents()
    again = practice.push(place.open)
    assert (again.sent_objects, again.number) == (0, pushed.number + 1)


def test_a_push_killed_after_its_generation_arrived_does_not_publish_it_twice(place, tmp_path):
    """Killed between «it is there» and «I know that it is there»: settled by its hash."""
    practice = Practice(tmp_path / "box")
    practice.night(files=2)

    def die_when_published() -> None:
        import os
        import signal

        from appliance.db import copies

        copies.published = lambda *_a, **_k: os.kill(os.getpid(), signal.SIGKILL)
        practice.push(place.open)

    assert run_killed(die_when_published)[0] == -9
    assert generations(place) == [1]

    pushed = practice.push(place.open)

    assert (pushed.number, pushed.sent_objects) == (2, 0)
    assert generations(place) == [2, 1]
