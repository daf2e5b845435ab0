"""Who may do what, cell by cell."""

import pytest

from appliance.model import Role
from appliance.policy.roles import ALLOWED, ROLE_NAMES, WITHOUT_DOCUMENTS, Action, may

#: The whole matrix, written out a second time on purpose: owner, associate, secretary, locum,
#: technical, envelope.
MATRIX = """
status.see               yes yes yes -   yes yes
sources.see              yes yes -   -   yes -
sources.change           yes -   -   -   yes -
backup.start             yes yes -   -   yes -
snapshot.browse          yes yes -   -   -   -
file.open                yes yes -   -   -   -
file.restore             yes yes -   -   -   -
file.restore-to-machine  yes yes -   -   -   -
snapshot.protect         yes yes -   -   -   -
prune.run                yes -   -   -   -   -
anomaly.close            yes -   -   -   -   -
ledger.see               yes yes -   -   yes yes
jobs.see                 yes yes -   -   yes -
jobs.cancel              yes -   -   -   yes -
people.change            yes -   -   -   -   -
people.let-in            yes -   -   -   -   yes
envelope.seal            yes -   -   -   -   -
settings.change          yes -   -   -   yes -
copies.see               yes yes -   -   yes -
copies.change            yes -   -   -   yes -
copies.declare           yes -   -   -   -   -
kit.print                yes -   -   -   -   -
drill.run                yes yes -   -   -   -
disk.use                 yes yes yes yes -   -
shares.change            yes -   -   -   -   -
links.see-all            yes -   -   -   -   -
locums.change            yes yes -   -   -   -
emergency.take           yes yes -   yes -   -
emergency.review         yes -   -   -   -   -
network.change           yes -   -   -   yes -
first-steps              yes -   -   -   -   -
"""
ROLES = (
    Role.OWNER,
    Role.ASSOCIATE,
    Role.SECRETARY,
    Role.LOCUM,
    Role.TECHNICAL_ADMIN,
    Role.SEALED_ENVELOPE,
)
CELLS = [
    (role, Action(line.split()[0]), cell == "yes")
    for line in MATRIX.strip().splitlines()
    for role, cell in zip(ROLES, line.split()[1:], strict=True)
]


@pytest.mark.parametrize(("role", "action", "allowed"), CELLS)
def test_the_matrix_is_what_was_agreed(role, action, allowed):
    """SEC-03: a change of rights is a change of this table, seen in review."""
    assert may(role, action) is allowed


def test_the_matrix_has_every_cell():
    """A role or an action added later has to be decided here."""
    assert {(role, action) for role, action, _ in CELLS} == {
        (role, action) for role in Role for action in Action
    }
    assert set(ROLE_NAMES) == set(Role)


def test_the_technical_administrator_sees_no_document_and_no_name_of_one():
    """Names of documents are patients' data."""
    for action in Action:
        if action.startswith(("file.", "snapshot.", "disk.")):
            assert not any(may(role, action) for role in WITHOUT_DOCUMENTS)


def test_only_an_owner_doctor_says_what_a_place_is_and_holds_the_sheets():
    """HDS-01: the declaration binds the practice; and who holds the sheets holds every document."""
    for role in Role:
        for action in (Action.COPIES_DECLARE, Action.KIT_PRINT, Action.ENVELOPE_SEAL):
            assert may(role, action) is (role is Role.OWNER)


def test_whatever_is_not_allowed_is_refused(monkeypatch):
    """A role nobody decided about may do nothing."""
    monkeypatch.delitem(ALLOWED, Role.OWNER)

    assert not any(may(Role.OWNER, action) for action in Action)
