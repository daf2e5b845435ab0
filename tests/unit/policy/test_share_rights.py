"""Who may do what on a share, at which moment."""

from datetime import UTC, datetime, timedelta

import pytest

from appliance.model import Person, PersonId, Role
from appliance.policy.share_rights import (
    ALL,
    NONE,
    Emergency,
    Grant,
    LocumTerm,
    Right,
    rights_on,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SEE, ADD = Right.SEE, Right.ADD


def person(number: int, role: Role, *, disabled: bool = False) -> Person:
    return Person(
        PersonId(number), f"p{number}", f"P {number}", role, "fr", NOW, NOW if disabled else None
    )


def term(replaces: Person, **changes: object) -> LocumTerm:
    values = {
        "starts_at": NOW - HOUR,
        "ends_at": NOW + HOUR,
        "replaces": replaces,
        "rights": {1: frozenset({SEE, ADD})},
    } | changes
    return LocumTerm(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", [each for each in Role if each is not Role.LOCUM])
def test_nobody_has_a_right_that_was_not_granted(role: Role) -> None:
    """Closed by default, to the owner doctor too."""
    assert rights_on(1, person(1, role), [], now=NOW) == NONE
    assert rights_on(1, person(1, role), [Grant(2, ALL, PersonId(1))], now=NOW) == NONE
    assert rights_on(1, person(1, role), [Grant(1, ALL, PersonId(2))], now=NOW) == NONE


def test_rights_of_the_person_and_of_the_role_add_up() -> None:
    """A role's right and a person's own."""
    secretary = person(3, Role.SECRETARY)
    grants = [
        Grant(1, frozenset({SEE}), role=Role.SECRETARY),
        Grant(1, frozenset({ADD}), PersonId(3)),
    ]
    assert rights_on(1, secretary, grants, now=NOW) == {SEE, ADD}


@pytest.mark.parametrize("role", [Role.TECHNICAL_ADMIN, Role.SEALED_ENVELOPE])
def test_who_runs_the_box_only_sees_no_document_whatever_was_granted(role: Role) -> None:
    """By person, by role, in an emergency: nothing."""
    admin = person(4, role)
    grants = [Grant(1, ALL, PersonId(4)), Grant(1, ALL, role=role)]
    emergency = [Emergency(1, NOW - HOUR, NOW + HOUR)]
    assert rights_on(1, admin, grants, now=NOW, emergencies=emergency) == NONE


def test_a_disabled_account_has_nothing() -> None:
    """At once."""
    gone = person(1, Role.OWNER, disabled=True)
    assert rights_on(1, gone, [Grant(1, ALL, PersonId(1))], now=NOW) == NONE


def test_a_locum_has_the_chosen_part_of_whom_they_replace() -> None:
    """Never more than the replaced doctor has, and never by a grant of their own."""
    doctor, locum = person(1, Role.OWNER), person(5, Role.LOCUM)
    grants = [
        Grant(1, frozenset({SEE, Right.DELETE}), PersonId(1)),
        Grant(1, ALL, PersonId(5)),
        Grant(1, ALL, role=Role.LOCUM),
    ]
    assert rights_on(1, locum, grants, now=NOW, terms=[term(doctor)]) == {SEE}
    assert rights_on(2, locum, grants, now=NOW, terms=[term(doctor)]) == NONE


@pytest.mark.parametrize(
    ("moment", "sees"),
    [
        (NOW - HOUR - timedelta(seconds=1), False),
        (NOW - HOUR, True),
        (NOW + HOUR - timedelta(seconds=1), True),
        (NOW + HOUR, False),
    ],
)
def test_a_term_opens_and_closes_at_its_minute(moment: datetime, *, sees: bool) -> None:
    """Nobody needs to do anything for it."""
    doctor, locum = person(1, Role.OWNER), person(5, Role.LOCUM)
    found = rights_on(1, locum, [Grant(1, ALL, PersonId(1))], now=moment, terms=[term(doctor)])
    assert (SEE in found) is sees


def test_a_closed_term_and_one_of_a_closed_account_give_nothing() -> None:
    """The doctor who left takes the locum's rights along."""
    locum = person(5, Role.LOCUM)
    grants = [Grant(1, ALL, PersonId(1))]
    for one in (
        term(person(1, Role.OWNER), closed=True),
        term(person(1, Role.OWNER, disabled=True)),
    ):
        assert rights_on(1, locum, grants, now=NOW, terms=[one]) == NONE


def test_emergency_access_shows_and_does_no_more() -> None:
    """To a professional, on that share, for those minutes."""
    doctor = person(2, Role.ASSOCIATE)
    running = [Emergency(1, NOW - HOUR, NOW + HOUR)]
    assert rights_on(1, doctor, [], now=NOW, emergencies=running) == {SEE}
    assert rights_on(2, doctor, [], now=NOW, emergencies=running) == NONE
    assert rights_on(1, doctor, [], now=NOW + HOUR, emergencies=running) == NONE
    assert rights_on(1, person(3, Role.SECRETARY), [], now=NOW, emergencies=running) == NONE
    locum = person(5, Role.LOCUM)
    assert rights_on(1, locum, [], now=NOW, emergencies=running) == NONE
