"""When a second factor is asked for."""

from datetime import UTC, datetime, timedelta

import pytest

from appliance.model import Role
from appliance.policy.second_factor import (
    GRACE,
    PROVEN_FOR,
    Means,
    Step,
    is_proven,
    is_required,
    may_go_on,
    next_step,
)

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
MADE = NOW - timedelta(days=300)


@pytest.mark.parametrize("role", Role)
def test_from_outside_everybody_shows_two_factors(role):
    """A password alone opens nothing on the Internet (SEC-09, PSC-03)."""
    assert is_required(role, of_person=False, of_everyone=False, is_local=False)


def test_the_envelope_shows_none_at_the_practice():
    """It has none to show: whatever was chosen for all."""
    envelope = Role.SEALED_ENVELOPE
    for chosen in (False, True):
        assert not is_required(envelope, of_person=chosen, of_everyone=chosen, is_local=True)


@pytest.mark.parametrize(
    ("role", "required"),
    [
        (Role.OWNER, True),
        (Role.TECHNICAL_ADMIN, True),
        (Role.ASSOCIATE, False),
        (Role.LOCUM, False),
        (Role.SECRETARY, False),
    ],
)
def test_at_the_practice_those_who_run_the_box_do_and_whoever_it_is_set_for(role, required):
    """Always the first two; the others when the practice says so, for all or for one."""
    assert is_required(role, of_person=False, of_everyone=False, is_local=True) is required
    assert is_required(role, of_person=True, of_everyone=False, is_local=True)
    assert is_required(role, of_person=False, of_everyone=True, is_local=True)


@pytest.mark.parametrize(
    ("factors", "required", "has_factor", "is_local", "age", "step"),
    [
        ("password", False, False, True, 300, Step.IN),
        ("password", False, True, True, 300, Step.IN),
        ("password", True, True, True, 300, Step.ASKED),
        ("password", True, True, False, 300, Step.ASKED),
        ("link", True, True, False, 300, Step.ASKED),
        ("password", True, False, True, 1, Step.LED),
        ("password", True, False, True, 300, Step.MAKE),
        ("link", True, False, True, 1, Step.LED),
        ("password", True, False, False, 0, Step.REFUSED),
        ("password", True, False, False, 300, Step.REFUSED),
        ("link", True, False, False, 300, Step.MAKE),
        ("password+totp", True, True, False, 300, Step.IN),
        ("passkey+verified", True, True, False, 300, Step.IN),
        ("oidc", True, True, False, 300, Step.ASKED),
        ("oidc+eidas1", True, False, False, 300, Step.IN),
    ],
)
def test_what_comes_after_the_first_factor(factors, required, has_factor, is_local, age, step):
    """Nobody is locked out at the practice; from outside a thief of a password makes no factor."""
    assert (
        next_step(
            Means(factors),
            required=required,
            has_factor=has_factor,
            is_local=is_local,
            since=NOW - timedelta(days=age),
            now=NOW,
        )
        is step
    )


def test_the_grace_ends_at_its_minute_and_a_clock_set_back_lengthens_none():
    """Seven days from the account's making."""

    def step(since):
        return next_step(
            Means("password"), required=True, has_factor=False, is_local=True, since=since, now=NOW
        )

    assert step(NOW - GRACE + timedelta(minutes=1)) is Step.LED
    assert step(NOW - GRACE) is Step.MAKE
    assert step(NOW + timedelta(days=1)) is Step.MAKE


def test_a_proof_is_good_for_some_minutes_and_not_before_it_was_given():
    """What matters most asks again."""
    assert is_proven(NOW, NOW)
    assert is_proven(NOW - PROVEN_FOR + timedelta(seconds=1), NOW)
    assert not is_proven(NOW - PROVEN_FOR, NOW)
    assert not is_proven(NOW + timedelta(seconds=1), NOW)
    assert not is_proven(None, NOW)


@pytest.mark.parametrize(
    ("factors", "began_local", "is_local", "goes_on"),
    [
        ("password", True, True, True),
        ("password", True, False, False),
        ("password+totp", True, False, True),
        ("password", False, True, True),
        ("password", False, False, True),
    ],
)
def test_a_session_of_one_factor_does_not_leave_the_practice(
    factors, began_local, is_local, goes_on
):
    """Its cookie, carried home, asks for the second factor."""
    assert may_go_on(Means(factors), began_local=began_local, is_local=is_local) is goes_on
