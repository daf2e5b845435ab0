"""A share with a person who may do everything on it."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.accounts import people
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk.access import Held
from appliance.disk.actions import Doer
from appliance.model import Person, Role
from appliance.policy.share_rights import ALL, Right

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def doctor(database: Database) -> Person:
    """An owner doctor."""
    with database.write() as connection:
        return people.add(
            connection,
            login="anne.martin",
            name="Anne Martin",
            role=Role.OWNER,
            language="fr",
            password_hash=None,
            now=NOW,
        )


@pytest.fixture
def share(database: Database, tmp_path: Path) -> Share:
    """An empty share."""
    folder = tmp_path / "documents"
    folder.mkdir()
    with database.write() as connection:
        return shares.add(connection, name="documents", label="Documents", folder=folder, now=NOW)


@pytest.fixture
def doer(doctor: Person) -> Doer:
    """The doctor, in the browser."""
    return Doer(doctor.id, "web")


@pytest.fixture
def holding(share: Share) -> Callable[..., Held]:
    """Return the share with the rights given; all of them by default."""

    def hold(*rights: Right) -> Held:
        return Held(share, frozenset(rights) or ALL)

    return hold
