"""Forty people read all the time while a night runs: nobody is refused, nothing is locked, the night ends well.

Two hundred of them, with figures: ``tests/bench/test_two_hundred_readers.py``.
"""

import time
from pathlib import Path

import pytest

from appliance.jobs.kinds import TakeSnapshot, VerifySnapshot
from appliance.model import JobState
from tests.support import crowd
from tests.support.crowd import Scene

pytestmark = [pytest.mark.fault, pytest.mark.integration, pytest.mark.timeout(180)]

PEOPLE = 40
LARGE = 12
#: At least so long, and at most: a night of the scene takes some seconds.
LEAST_S, MOST_S = 4.0, 20.0


@pytest.fixture
def scene(tmp_path):
    made = Scene.make(tmp_path, PEOPLE, files=120, large=LARGE)
    yield made
    made.box.close()


def test_forty_people_read_while_a_night_runs(scene, tmp_path: Path):
    """Every answer is whole; the snapshot taken meanwhile can be read to its last byte."""
    log = tmp_path / "web.log"
    source = scene.source
    with crowd.serving(scene, log) as (port, web):
        _, night = scene.box.start(TakeSnapshot(source.id))
        began = time.monotonic()

        def goes_on() -> bool:
            spent = time.monotonic() - began
            return spent < MOST_S and (spent < LEAST_S or night.poll() is None)

        told = crowd.crowd(scene, port, large=LARGE, pause_s=0.2, goes_on=goes_on)
        ended = night.wait(120)
        grown = web.memory_info().rss / 1e6

    assert told.wrong == []
    assert set(told.statuses) <= {200, 206}
    assert len(told.took_ms) >= PEOPLE * 2
    assert {"page", "list", "open", "search", "range"} <= set(told.by_habit)
    said = log.read_text()
    assert "locked" not in said
    assert "Traceback" not in said
    assert ended == 0
    newest = scene.box.newest(source)
    assert scene.box.run(VerifySnapshot(source.id, newest.id)) is JobState.SUCCEEDED
    scene.box.assert_agreement(source)
    assert grown < 400
