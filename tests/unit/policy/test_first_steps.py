"""The first day: what is done is what exists, whatever was clicked."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from appliance.model import Role
from appliance.policy.first_steps import (
    MINUTES,
    SHARE_TEMPLATES,
    STEP_NAMES,
    STEP_REASONS,
    Reading,
    StepName,
    StepState,
    current,
    left,
    minutes_left,
    steps,
)
from appliance.policy.share_rights import Right

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
ALL_DONE = Reading(NOW, NOW, NOW, NOW, NOW, True, NOW, NOW, True, NOW, True, NOW)


def states(reading: Reading, *later: str) -> dict[StepName, StepState]:
    return {each.name: each.state for each in steps(reading, later)}


def test_a_new_box_has_everything_to_do_in_under_fifteen_minutes():
    """The order is the issue's; each step has its name, its reason and its minutes."""
    found = steps(Reading(), ())

    assert [each.name for each in found] == list(StepName)
    assert {each.state for each in found} == {StepState.TO_DO}
    assert left(found) == 7
    assert minutes_left(found) < 15
    assert current(found) is StepName.PRACTICE
    assert set(STEP_NAMES) == set(STEP_REASONS) == set(MINUTES) == set(StepName)


@pytest.mark.parametrize(
    ("changes", "step", "state"),
    [
        ({"named_at": NOW}, "practice", "done"),
        ({"factor_at": NOW}, "factor", "done"),
        ({"share_at": NOW}, "share", "done"),
        ({"colleague_at": NOW}, "people", "done"),
        ({"machine_at": NOW}, "machine", "begun"),
        ({"machine_at": NOW, "is_machine_ready": True}, "machine", "waiting"),
        ({"machine_at": NOW, "machine_proven_at": NOW}, "machine", "done"),
        ({"target_at": NOW}, "copy", "begun"),
        ({"target_at": NOW, "is_target_ready": True}, "copy", "waiting"),
        ({"target_at": NOW, "generation_at": NOW}, "copy", "done"),
        ({"is_kit_printed": True}, "kit", "begun"),
        ({"is_kit_printed": True, "kit_at": NOW}, "kit", "done"),
    ],
)
def test_a_step_is_what_exists(changes, step, state):
    """One thing more moves one step, and no other."""
    found = states(replace(Reading(), **changes))

    assert found.pop(StepName(step)) == state
    assert set(found.values()) == {StepState.TO_DO}


def test_what_was_put_off_is_not_pressing_and_still_counts():
    """«Later» hides nothing: the step waits, and is done as soon as it exists."""
    found = steps(Reading(), ["machine", "practice", "no-such-step"])

    assert states(Reading(), "machine")[StepName.MACHINE] is StepState.LATER
    assert current(found) is StepName.FACTOR
    assert left(found) == 7
    assert states(replace(Reading(), named_at=NOW), "practice")[StepName.PRACTICE] is StepState.DONE
    waiting = replace(Reading(), machine_at=NOW, is_machine_ready=True)
    assert states(waiting, "machine")[StepName.MACHINE] is StepState.WAITING


def test_at_the_end_nothing_is_left():
    """And what has gone since is to do again."""
    assert left(steps(ALL_DONE, ())) == 0
    assert current(steps(ALL_DONE, ())) is None
    gone = steps(replace(ALL_DONE, share_at=None), ())
    assert current(gone) is StepName.SHARE


def test_the_shares_that_are_offered_are_closed_to_whom_they_are_not_for():
    """No template opens a share to a locum or a technical administrator; rights that need «see» have it."""
    for each in SHARE_TEMPLATES:
        assert set(each.rights) <= {Role.OWNER, Role.ASSOCIATE, Role.SECRETARY}
        assert all(Right.SEE in rights for rights in each.rights.values())
        assert Right.SHARE_OUT not in each.rights.get(Role.SECRETARY, frozenset())
    by_key = {each.key: each for each in SHARE_TEMPLATES}
    assert set(by_key["accounting"].rights) == {Role.OWNER}
