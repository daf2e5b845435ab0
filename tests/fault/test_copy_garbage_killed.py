"""kill -9 of garbage collection at random lines, wherever something can be removed: no kept generation loses a byte."""

import random
from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from appliance.db import copies
from appliance.replication import collect, verify
from appliance.replication.plan import KeepGenerations
from tests.support.copy_places import (
    NOW,
    Place,
    Practice,
    bring_back,
    generations,
    place_of,
    run_killed,
    s3_place,
)

pytestmark = [pytest.mark.integration, pytest.mark.fault]
NIGHTS = 3
KEEP = KeepGenerations(daily=2, weekly=0, monthly=0)
LATER = NOW + timedelta(days=60)


def collect_once(practice: Practice, place: Place) -> collect.Collected:
    target = place.open()
    try:
        with practice.database() as database:
            with database.read() as connection:
                rows = list(copies.stored(connection, practice.target_id))
                kept = copies.kept(connection, practice.target_id)
            return collect.collect(
                database,
                practice.target_id,
                target,
                listing=verify.compare_listing(target, rows, kept),
                keep=KEEP,
                lock=timedelta(0),
                zone=UTC,
                now=lambda: LATER,
                should_stop=lambda: False,
                actor="test",
            )
    finally:
        target.close()


def nights(practice: Practice, place: Place) -> list[dict[str, bytes]]:
    """Push NIGHTS times. Each night writes three segments and compacts two away."""
    contents = []
    moment = practice.moment
    for night in range(NIGHTS):
        practice.night(files=3, size=20_000, drop=2 if night else 0)
        at = NOW + timedelta(days=night)
        practice.moment = lambda at=at: replace(moment(), taken_at=at)
        practice.push(place.open, now=lambda at=at: at)
        contents.append(practice.contents())
    del practice.moment
    return contents


@pytest.fixture(params=["directory", "sftp", "s3"])
def place(request, tmp_path):
    if request.param == "s3":
        yield s3_place(request.getfixturevalue("s3_server"), locked=False)
        return
    with place_of(request.param, tmp_path / "place") as one:
        yield one


def test_garbage_collection_killed_at_random_lines_keeps_every_kept_generation_whole(
    place, tmp_path
):
    practice = Practice(tmp_path / "box")
    contents = nights(practice, place)
    chance = random.Random(71)
    kills = 0
    for _ in range(4):
        status, _ = run_killed(
            lambda: collect_once(practice, place), at_line=chance.randrange(40, 700)
        )
        assert status in {0, -9}
        kills += status == -9
        assert {NIGHTS - 1, NIGHTS} <= set(generations(place))
        if status == 0:
            break
    # Once for the orphans' grace to have passed for what the last kill left, once to find nothing to do.
    collect_once(practice, place)
    again = collect_once(practice, place)

    assert kills > 0
    assert generations(place) == [NIGHTS, NIGHTS - 1]
    assert (again.generations, again.objects) == (0, 0)
    for number in (NIGHTS - 1, NIGHTS):
        assert bring_back(place, number, tmp_path / str(number)) == contents[number - 1]
    practice.night()
    assert practice.push(place.open).number == NIGHTS + 1


def test_a_push_after_a_killed_collection_sends_what_was_removed_and_is_wanted_again(tmp_path):
    """The record is written first: nothing is believed to be there that a collection took."""
    with place_of("directory", tmp_path / "place") as place:
        practice = Practice(tmp_path / "box")
        nights(practice, place)
        for point in (150, 300, 450):
            run_killed(lambda: collect_once(practice, place), at_line=point)

        practice.night()
        pushed = practice.push(place.open)

        assert bring_back(place, pushed.number, tmp_path / "back") == practice.contents()
        assert generations(place)[:3] == [NIGHTS + 1, NIGHTS, NIGHTS - 1]


def test_another_box_keeps_everything_whatever_is_asked(tmp_path):
    with place_of("box", tmp_path / "place") as place:
        practice = Practice(tmp_path / "box")
        contents = nights(practice, place)

        done = collect_once(practice, place)

        assert done.locked > 0
        assert (done.generations, done.objects) == (0, 0)
        assert generations(place) == list(range(NIGHTS, 0, -1))
        assert bring_back(place, 1, tmp_path / "first") == contents[0]
