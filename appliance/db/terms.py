"""Locums' terms and emergency accesses, as ``policy.share_rights`` reads them."""

from datetime import datetime

from sqlalchemy import Connection, select

from appliance.db.schema import person
from appliance.db.schema_people import emergency_access, locum
from appliance.model import Person, PersonId, Role
from appliance.policy.share_rights import Emergency, LocumTerm, Right, running_term


def of_locum(connection: Connection, person_id: PersonId) -> list[LocumTerm]:
    """Return every term of a locum, the newest first."""
    query = (
        select(locum, *(column.label(f"p_{column.name}") for column in person.c))
        .join(person, person.c.id == locum.c.replaces_id)
        .where(locum.c.person_id == person_id)
        .order_by(locum.c.id.desc())
    )
    return [
        LocumTerm(
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            replaces=Person(
                id=PersonId(row.p_id),
                login=row.p_login,
                name=row.p_name,
                role=Role(row.p_role),
                language=row.p_language,
                created_at=row.p_created_at,
                disabled_at=row.p_disabled_at,
            ),
            rights={
                int(share): frozenset(Right(each) for each in rights)
                for share, rights in row.rights.items()
            },
            closed=row.closed_at is not None,
        )
        for row in connection.execute(query)
    ]


def is_open(connection: Connection, whom: Person, *, now: datetime) -> bool:
    """Return whether an account is open at ``now``: a locum's only within a term, any other one always."""
    return (
        whom.role is not Role.LOCUM or running_term(of_locum(connection, whom.id), now) is not None
    )


def running_emergencies(
    connection: Connection, person_id: PersonId, *, now: datetime
) -> list[Emergency]:
    """Return the emergency accesses of a person that run at ``now``."""
    query = select(emergency_access).where(
        emergency_access.c.person_id == person_id,
        emergency_access.c.ended_at.is_(None),
        emergency_access.c.ends_at > now,
    )
    return [Emergency(row.share_id, row.began_at, row.ends_at) for row in connection.execute(query)]
