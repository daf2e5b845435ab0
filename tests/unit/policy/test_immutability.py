"""When a place may be called immutable."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.immutability import (
    EXPECTED,
    Action,
    Attempt,
    Outcome,
    is_shown,
    judge,
)

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)


def all_refused(kind: str) -> list[Attempt]:
    return [Attempt(action, Outcome.REFUSED) for action in EXPECTED[kind]]


@pytest.mark.parametrize("kind", EXPECTED)
def test_every_attempt_refused_is_immutable(kind):
    found = judge(kind, all_refused(kind))

    assert found.is_immutable
    assert (found.done, found.unknown) == ((), ())


@pytest.mark.parametrize("kind", EXPECTED)
@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.UNKNOWN, None])
def test_one_that_was_done_is_unknown_or_was_not_tried_is_enough_to_say_no(kind, outcome):
    for place, action in enumerate(EXPECTED[kind]):
        attempts = all_refused(kind)
        attempts[place : place + 1] = [] if outcome is None else [Attempt(action, outcome)]

        found = judge(kind, attempts)

        assert not found.is_immutable
        assert (found.done if outcome is Outcome.DONE else found.unknown) == (action,)


def test_what_was_accepted_without_effect_harms_nothing():
    """A delete marker over a version that stays."""
    attempts = [Attempt(action, Outcome.WITHOUT_EFFECT) for action in EXPECTED["s3"]]

    assert judge("s3", attempts).is_immutable


def test_of_an_action_tried_twice_the_worst_counts():
    attempts = [*all_refused("sftp"), Attempt(Action.DELETE, Outcome.DONE)]
    assert judge("sftp", attempts).done == (Action.DELETE,)
    attempts = [*all_refused("sftp"), Attempt(Action.DELETE, Outcome.UNKNOWN)]
    assert not judge("sftp", attempts).is_immutable


def test_a_kind_nobody_knows_is_never_immutable():
    assert not judge("tape", []).is_immutable
    assert not judge("tape", all_refused("s3")).is_immutable


@given(
    st.sampled_from(sorted(EXPECTED)),
    st.lists(st.builds(Attempt, st.sampled_from(Action), st.sampled_from(Outcome))),
)
def test_immutable_is_never_said_with_a_doubt(kind, attempts):
    found = judge(kind, attempts)
    if found.is_immutable:
        outcomes = {each.outcome for each in attempts}
        assert outcomes <= {Outcome.REFUSED, Outcome.WITHOUT_EFFECT}
        assert {each.action for each in attempts} >= set(EXPECTED[kind])


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (timedelta(), True),
        (timedelta(hours=50), True),
        (timedelta(hours=51), False),
        (-timedelta(minutes=5), True),
        (-timedelta(hours=1), False),
    ],
)
def test_the_word_is_shown_with_a_fresh_proof_only(age, shown):
    good = judge("s3", all_refused("s3"))

    assert is_shown(good, tested_at=NOW - age, now=NOW) == shown
    assert not is_shown(judge("s3", []), tested_at=NOW, now=NOW)
