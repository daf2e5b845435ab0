"""Emergency access («bris de glace»): a health professional reads for some minutes what is closed to them (SEC-15).

The reason may name a patient: it stays in its table, for the review; the ledger holds its digest, a notice
holds neither.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, select, update

from appliance.accounts import locums, notices
from appliance.db import facts, shares
from appliance.db.schema import person
from appliance.db.schema_people import emergency_access
from appliance.db.terms import is_open
from appliance.errors import InvalidInput, NotAllowed, NotFound
from appliance.language import mark
from appliance.ledger import events, questions
from appliance.model import LedgerEntry, Person, PersonId, Role
from appliance.policy.emergency import (
    MINUTES,
    MINUTES_BOUNDS,
    may_review,
    refusal,
)

#: Fact: minutes an access lasts.
DURATION: Final = "emergency.minutes"
REVIEW_AT_MOST: Final = 2_000  # letters


@dataclass(frozen=True, slots=True)
class Access:
    """One emergency access."""

    id: int
    person_id: PersonId
    beneficiary: str  # a technician who was helped; empty: nobody
    share_id: int
    reason: str  # may name a patient
    began_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    reviewed_at: datetime | None
    reviewed_by: PersonId | None
    review: str | None

    def is_running(self, now: datetime) -> bool:
        """Return whether it opens anything at ``now``."""
        return self.ended_at is None and self.began_at <= now < self.ends_at

    @property
    def until(self) -> datetime:
        """When it stopped, or will."""
        return min(self.ended_at or self.ends_at, self.ends_at)


def minutes(connection: Connection) -> int:
    """Return how many minutes an access lasts."""
    found = facts.find(connection, DURATION)
    return found if isinstance(found, int) else MINUTES


def set_minutes(connection: Connection, chosen: int, *, by: PersonId | None, now: datetime) -> None:
    """Choose how long an access lasts, and write it down.

    Raises:
        InvalidInput: not from 5 minutes to 4 hours.
    """
    low, high = MINUTES_BOUNDS
    if not low <= chosen <= high:
        raise InvalidInput("minutes", mark("From 5 to 240 minutes."))
    facts.put(connection, DURATION, chosen, now=now)
    events.record(
        connection,
        at=now,
        event="emergency.minutes-set",
        subject="box",
        person_id=by,
        actor=None if by is not None else "console",
        minutes=chosen,
    )


def begin(
    connection: Connection,
    taker: Person,
    *,
    share_id: int,
    reason: str,
    beneficiary: str = "",
    now: datetime,
) -> Access:
    """Open a share to a professional for some minutes, inside the caller's write, and tell who answers for it.

    Args:
        connection: of the write.
        taker: a habilitated health professional; it is they who answer for whom they help.
        share_id: of a living share.
        reason: why, at least 10 letters.
        beneficiary: the technician they help, if any: works under their eyes, with their session.
        now: aware.

    Raises:
        NotAllowed: not a health professional, or a locum outside the term.
        InvalidInput: the reason is too short, or an access to this share runs already.
        NotFound: there is no such share.
    """
    if refusal(taker.role, "reason enough, here") is not None:
        raise NotAllowed("emergency.take")
    problem = refusal(taker.role, reason)
    if problem is not None:
        raise InvalidInput("reason", problem)
    if taker.disabled_at is not None or not is_open(connection, taker, now=now):
        raise NotAllowed("emergency.take")
    if len(beneficiary) > 200:
        raise InvalidInput("beneficiary", mark("A name, please."))
    share = shares.get(connection, shares.ShareId(share_id))
    if any(each.share_id == share_id for each in running(connection, taker.id, now=now)):
        raise InvalidInput("share", mark("You have emergency access to this share already."))
    ends_at = now + timedelta(minutes=minutes(connection))
    words = " ".join(reason.split())
    result = connection.execute(
        emergency_access.insert().values(
            person_id=taker.id,
            beneficiary=" ".join(beneficiary.split()),
            share_id=share_id,
            reason=words,
            began_at=now,
            ends_at=ends_at,
        )
    )
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    access = get(connection, int(result.inserted_primary_key[0]))
    events.record(
        connection,
        at=now,
        event="emergency.begun",
        subject=f"share:{share_id}",
        person_id=taker.id,
        access=access.id,
        ends=ends_at.isoformat(),
        reason_sha256=hashlib.sha256(words.encode()).hexdigest(),
        helps=bool(access.beneficiary),
    )
    notices.put_all(
        connection,
        "emergency.begun",
        mark(
            "%(taker)s took emergency access to «%(share)s», until %(ends_at)s. Review it within 7 days."
        ),
        {
            "taker": taker.name,
            "share": share.label,
            "ends_at": ends_at,
            "href": f"/emergency/{access.id}",
        },
        responsible(connection, taker, now=now),
        now=now,
    )
    return access


def responsible(connection: Connection, taker: Person, *, now: datetime) -> list[PersonId]:
    """Return the doctors who are told: the owners, and whom a locum replaces; the taker only if alone."""
    told = owners(connection)
    if taker.role is Role.LOCUM:
        for term in locums.of_person(connection, taker.id):
            if term.is_running(now):
                told += [term.replaces_id, term.sponsor_id]
    others = [each for each in told if each != taker.id]
    return others or told


def stop(connection: Connection, access_id: int, *, by: Person, now: datetime) -> Access:
    """End an access now, inside the caller's write: the taker, or an owner.

    Raises:
        NotFound: there is none; of somebody else's, only an owner is told that it is there.
    """
    access = get(connection, access_id)
    if by.id != access.person_id and by.role is not Role.OWNER:
        raise NotFound("emergency access", str(access_id))
    if access.is_running(now):
        _end(connection, access, by=by.id, now=now)
    return get(connection, access_id)


def end_due(connection: Connection, *, now: datetime) -> list[PersonId]:
    """Write down the accesses whose time is over, inside the caller's write; return whose they were.

    They opened nothing any more since their very minute: ``db.terms`` is asked at each request.
    """
    query = select(emergency_access).where(
        emergency_access.c.ended_at.is_(None), emergency_access.c.ends_at <= now
    )
    due = [_access(row) for row in connection.execute(query)]
    for each in due:
        _end(connection, each, by=None, now=each.ends_at, at=now)
    return [each.person_id for each in due]


def review(
    connection: Connection, access_id: int, words: str, *, by: Person, now: datetime
) -> Access:
    """Sign that an access was looked at, inside the caller's write.

    Raises:
        NotFound.
        NotAllowed: the taker, while another owner is there; or not an owner.
        InvalidInput: it runs still, was reviewed, or nothing was written.
    """
    access = get(connection, access_id)
    if not may_review(by.id, access.person_id, owners(connection)):
        raise NotAllowed("emergency.review")
    if access.is_running(now):
        raise InvalidInput("review", mark("It is not over yet."))
    if access.reviewed_at is not None:
        raise InvalidInput("review", mark("It was reviewed already."))
    said = " ".join(words.split())
    if len(said) < 3 or len(said) > REVIEW_AT_MOST:
        raise InvalidInput("review", mark("Say what you think of it, in a few words."))
    connection.execute(
        update(emergency_access)
        .where(emergency_access.c.id == access_id)
        .values(reviewed_at=now, reviewed_by=by.id, review=said)
    )
    events.record(
        connection,
        at=now,
        event="emergency.reviewed",
        subject=f"share:{access.share_id}",
        person_id=by.id,
        access=access_id,
        taker=f"person:{access.person_id}",
        review_sha256=hashlib.sha256(said.encode()).hexdigest(),
    )
    return get(connection, access_id)


def opened(connection: Connection, access: Access, *, now: datetime) -> list[LedgerEntry]:
    """Return what the taker did on that share while it ran, the newest first."""
    found = questions.of_person(
        connection,
        access.person_id,
        since=access.began_at,
        until=min(access.until, now),
        events="file.",
    )
    return [each for each in found if each.subject == f"share:{access.share_id}"]


def get(connection: Connection, access_id: int) -> Access:
    """Return an access.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(
        select(emergency_access).where(emergency_access.c.id == access_id)
    ).first()
    if row is None:
        raise NotFound("emergency access", str(access_id))
    return _access(row)


def every(connection: Connection, *, limit: int = 100) -> list[Access]:
    """Return the accesses, the newest first."""
    query = select(emergency_access).order_by(emergency_access.c.id.desc()).limit(limit)
    return [_access(row) for row in connection.execute(query)]


def running(connection: Connection, person_id: PersonId, *, now: datetime) -> list[Access]:
    """Return the accesses of a person that run at ``now``."""
    query = select(emergency_access).where(
        emergency_access.c.person_id == person_id,
        emergency_access.c.ended_at.is_(None),
        emergency_access.c.ends_at > now,
    )
    return [_access(row) for row in connection.execute(query)]


def owners(connection: Connection) -> list[PersonId]:
    """Return the living owners of the practice."""
    query = select(person.c.id).where(
        person.c.role == Role.OWNER.value, person.c.disabled_at.is_(None)
    )
    return [PersonId(each) for each in connection.execute(query.order_by(person.c.id)).scalars()]


def _end(
    connection: Connection,
    access: Access,
    *,
    by: PersonId | None,
    now: datetime,
    at: datetime | None = None,
) -> None:
    connection.execute(
        update(emergency_access).where(emergency_access.c.id == access.id).values(ended_at=now)
    )
    count = len(opened(connection, get(connection, access.id), now=now))
    events.record(
        connection,
        at=at or now,
        event="emergency.ended",
        subject=f"share:{access.share_id}",
        person_id=by,
        access=access.id,
        opened=count,
    )


def _access(row: Row[Any]) -> Access:
    return Access(
        id=row.id,
        person_id=PersonId(row.person_id),
        beneficiary=row.beneficiary,
        share_id=row.share_id,
        reason=row.reason,
        began_at=row.began_at,
        ends_at=row.ends_at,
        ended_at=row.ended_at,
        reviewed_at=row.reviewed_at,
        reviewed_by=None if row.reviewed_by is None else PersonId(row.reviewed_by),
        review=row.review,
    )
