"""A bucket on a bad day: 503 storms, answers that get lost, lists that omit, repeat or are behind, a wrong clock."""

from datetime import UTC, datetime, timedelta

import pytest
from botocore import auth

from appliance.errors import TargetFull, TargetUnreachable
from appliance.replication import fetch
from tests.support.copy_places import (
    BOX,
    IDENTITY,
    KEY,
    Practice,
    bring_back,
    generations,
    s3_place,
)
from tests.support.s3_storm import Storm

pytestmark = [pytest.mark.integration, pytest.mark.fault]


@pytest.fixture
def place(s3_server):
    return s3_place(s3_server, attempts=3)


@pytest.fixture
def storm(place):
    with Storm(place.port) as one:
        yield one


@pytest.fixture
def practice(tmp_path):
    one = Practice(tmp_path / "box")
    one.night(files=6)
    return one


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """botocore waits up to twenty seconds between tries: a test need not."""
    from botocore.retries import standard

    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_a: 0.01)


def push_until_done(practice, open_target, attempts: int = 40):
    """What the planner does: again after every retryable failure."""
    for number in range(attempts):
        try:
            return practice.push(open_target, connections=2), number
        except TargetUnreachable:
            continue
    raise AssertionError("it never got through")


def test_a_storm_of_503_delays_a_push_and_does_it_no_harm(place, storm, practice, tmp_path):
    storm.weather.busy = 0.3

    pushed, _ = push_until_done(practice, lambda: place.open_at(storm.port))

    assert storm.answered_busy > 3
    assert pushed.number == 1
    assert generations(place) == [1]
    assert bring_back(place, 1, tmp_path / "back") == practice.contents()
    target = place.open()
    assert len(list(target.list("objects/"))) == 6
    target.close()


def test_a_host_that_only_says_503_is_unreachable_for_now_and_shows_nothing(place, storm, practice):
    storm.weather.busy = 1.0

    with pytest.raises(TargetUnreachable) as raised:
        practice.push(lambda: place.open_at(storm.port))

    assert raised.value.retryable
    assert generations(place) == []


def test_answers_that_get_lost_lose_nothing_and_mix_nothing(place, storm, practice, tmp_path):
    """The gateway did it and the box never heard: the next try finds the object there, and it is its own."""
    storm.weather.cut = 0.25

    pushed, _ = push_until_done(practice, lambda: place.open_at(storm.port))

    assert storm.was_cut > 1
    assert generations(place) == list(range(pushed.number, 0, -1))
    assert bring_back(place, pushed.number, tmp_path / "back") == practice.contents()
    target = place.open()
    assert len(list(target.list("objects/"))) == 6
    tags: dict[str, set[str]] = {}
    for each in target._versions("objects/"):
        tags.setdefault(each["Key"], set()).add(each["ETag"])
    target.close()
    assert all(
        len(found) == 1 for found in tags.values()
    )  # a try that was repeated: the same bytes


def test_a_list_that_is_behind_for_a_moment_delays_a_push_only(place, storm, practice, tmp_path):
    """Eventual consistency: what was written is shown a little later."""
    storm.weather.behind_s = 0.6

    pushed = practice.push(lambda: place.open_at(storm.port), connections=6)

    assert pushed.sent_objects == 6
    assert bring_back(place, 1, tmp_path / "back") == practice.contents()


def test_what_a_list_omits_is_missing_and_what_it_repeats_is_there_once(place, storm, practice):
    practice.push(place.open)
    target = place.open_at(storm.port)
    found = fetch.survey(target, signer=KEY.public_key(), box_id=BOX.box_id).generations[0]
    one = fetch.open_generation(target, found, identity=IDENTITY, signer=KEY.public_key())
    victim = one.files[2].object

    storm.weather.omits = lambda key: key == victim
    missing = fetch.missing_objects(target, one)
    storm.weather.omits = lambda _key: False
    storm.weather.repeats = True
    names = [info.name for info in target.list("objects/")]

    assert [file.object for file in missing] == [victim]
    assert len(names) == len(set(names)) == 6
    assert fetch.missing_objects(target, one) == []
    target.close()


def test_a_generation_that_a_list_omits_is_named_missing_by_whoever_knows_of_it(
    place, storm, practice
):
    practice.push(place.open)
    practice.night()
    practice.push(place.open)
    storm.weather.omits = lambda key: key.endswith("0000000002")
    target = place.open_at(storm.port)

    found = fetch.survey(target, signer=KEY.public_key(), box_id=BOX.box_id, kept=(1, 2))

    assert [(fault.number, fault.reason) for fault in found.faults] == [(2, "missing")]
    target.close()


def test_a_clock_an_hour_off_is_said_and_can_be_tried_again(place, practice, monkeypatch):
    """S3 refuses what is signed more than fifteen minutes from its own time."""
    skewed = datetime.now(UTC) + timedelta(hours=1)

    with monkeypatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda *_a, **_k: skewed.replace(tzinfo=None))
        with pytest.raises(TargetUnreachable) as raised:
            practice.push(place.open)

    assert raised.value.retryable
    assert "clock" in raised.value.reason
    assert practice.push(place.open).number == 1


def test_a_quota_is_a_full_target_and_a_push_goes_on_once_there_is_room(s3_server, place, tmp_path):
    practice = Practice(tmp_path / "box")
    practice.night(files=6, size=400_000)

    def quota(size: int) -> None:
        s3_server._run(
            "radosgw-admin", "quota", "set", "--quota-scope=user", "--uid=box", f"--max-size={size}"
        )
        switch = "enable" if size > 0 else "disable"
        s3_server._run("radosgw-admin", "quota", switch, "--quota-scope=user", "--uid=box")

    quota(1)
    try:
        with pytest.raises(TargetFull):
            # The gateway looks at its sums now and then: it may let a little pass.
            for _ in range(50):
                practice.push(place.open)
                practice.night(files=2, size=400_000)
    finally:
        quota(-1)
    shown = generations(place)
    for _ in range(20):
        try:
            pushed = practice.push(place.open)
            break
        except TargetFull:
            continue
    assert pushed.number == len(shown) + 1
    assert bring_back(place, pushed.number, tmp_path / "back") == practice.contents()
