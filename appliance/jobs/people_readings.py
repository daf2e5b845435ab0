"""What accounts say needs doing: emergency accesses to review, the yearly review of rights, the envelope in the safe."""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from appliance.db import facts
from appliance.db.schema import person
from appliance.db.schema_people import emergency_access, sealed_envelope
from appliance.policy import access_review
from appliance.policy.client_certificate import client_certificate_findings
from appliance.policy.emergency import Unreviewed, review_findings
from appliance.policy.findings import Finding
from appliance.policy.sealed_envelope import Kept, envelope_findings
from appliance.vault.certificate_pair import certificate_ends

#: Fact: the last signed review of rights; its «at» is when.
REVIEWED: Final = "people.reviewed"
#: Fact: services that say who somebody is, as ``accounts.oidc_providers`` keeps them.
PROVIDERS: Final = "oidc.providers"


def people_findings(connection: Connection, now: datetime) -> list[Finding]:
    """Return what there is to say about accounts."""
    query = (
        select(emergency_access.c.began_at, person.c.name)
        .join(person, person.c.id == emergency_access.c.person_id)
        .where(
            emergency_access.c.reviewed_at.is_(None),
            func.coalesce(emergency_access.c.ended_at, emergency_access.c.ends_at) <= now,
        )
    )
    waiting = [Unreviewed(row.began_at, row.name) for row in connection.execute(query)]
    first = connection.execute(select(func.min(person.c.created_at))).scalar()
    found = facts.find(connection, REVIEWED)
    last = datetime.fromisoformat(str(found["at"])) if isinstance(found, dict) else None
    said = review_findings(waiting, now) + access_review.review_findings(last, first, now)
    in_force = connection.execute(
        select(sealed_envelope.c.sealed_at, sealed_envelope.c.opened_at)
        .join(person, person.c.id == sealed_envelope.c.person_id)
        .where(sealed_envelope.c.ended_at.is_(None), person.c.disabled_at.is_(None))
    ).first()
    kept = None if in_force is None else Kept(in_force.sealed_at, in_force.opened_at)
    said += envelope_findings(kept, now)
    return said + client_certificate_findings(_client_certificates(connection), now)


def _client_certificates(connection: Connection) -> list[tuple[str, datetime]]:
    stored = facts.find(connection, PROVIDERS)
    used = [
        (str(each.get("name")), certificate_ends(str(each.get("certificate") or "")))
        for each in (stored if isinstance(stored, list) else ())
        if isinstance(each, dict) and each.get("is_on")
    ]
    return [(name, ends) for name, ends in used if ends is not None]
