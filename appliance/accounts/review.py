"""The yearly review of rights: what there is to look through, and its signature (domain.md SEC-05)."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, func, or_, select

from appliance.accounts import locums, people
from appliance.db import facts, shares
from appliance.db.schema import session
from appliance.db.schema_people import app_password, second_factor, tunnel_device
from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.ledger import events
from appliance.model import Person, Role
from appliance.policy.share_rights import Right, rights_on

#: Fact: the last signed review, whole, so that it can be printed again.
REVIEWED: Final = "people.reviewed"
#: Factors that count: recovery codes are the spare of another one.
_FACTORS: Final = ("totp", "passkey")


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One living account, as it is reviewed."""

    person_id: int
    name: str
    login: str
    role: str
    since: str  # ISO, when it was made
    last_sign_in: str | None  # ISO
    factors: tuple[str, ...]  # totp · passkey
    rights: tuple[tuple[str, tuple[str, ...]], ...]  # share's label, rights
    tokens: int  # app passwords that open something
    devices: int  # of the tunnel
    term: str | None = None  # ISO, end of a locum's running or coming term


@dataclass(frozen=True, slots=True)
class Signed:
    """A review that was signed."""

    at: datetime
    by: str
    digest: str  # SHA-256 of its lines as canonical JSON, sign-ins left out; in the ledger too
    lines: list[AccountLine]


def lines(connection: Connection, *, now: datetime) -> list[AccountLine]:
    """Return every living account with all that it opens, by name."""
    grants = shares.grants(connection)
    every = shares.all_living(connection)
    return [
        _line(connection, who, every, grants, now)
        for who in people.everybody(connection)
        if who.disabled_at is None
    ]


def digest(found: list[AccountLine]) -> str:
    """Return what the signature covers: all but when somebody last signed in, which may be this minute."""
    covered = [
        {name: value for name, value in asdict(each).items() if name != "last_sign_in"}
        for each in found
    ]
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sign(
    connection: Connection,
    *,
    by: Person,
    confirmed: set[int],
    seen_digest: str,
    name: str,
    now: datetime,
) -> Signed:
    """Sign a review, inside the caller's write.

    Args:
        connection: of the write.
        by: an owner.
        confirmed: person ids of the accounts that were looked at and are right.
        seen_digest: of what the page showed: what changed meanwhile is looked at again.
        name: typed, as a signature is.
        now: aware.

    Raises:
        InvalidInput: an account was not confirmed, something changed, or the name is not the signer's.
    """
    found = lines(connection, now=now)
    if digest(found) != seen_digest:
        raise InvalidInput("seen", mark("Something changed meanwhile: look through it again."))
    if {each.person_id for each in found} - confirmed:
        raise InvalidInput("confirmed", mark("Confirm every account, or close it first."))
    if " ".join(name.split()).casefold() != by.name.casefold():
        raise InvalidInput("name", mark("Sign with your own name, as it is written on the page."))
    facts.put(
        connection,
        REVIEWED,
        {
            "at": now.isoformat(),
            "by": by.name,
            "digest": seen_digest,
            "lines": [asdict(each) for each in found],
        },
        now=now,
    )
    events.record(
        connection,
        at=now,
        event="people.reviewed",
        subject="box",
        person_id=by.id,
        accounts=len(found),
        sha256=seen_digest,
    )
    return Signed(now, by.name, seen_digest, found)


def last(connection: Connection) -> Signed | None:
    """Return the last signed review, or None."""
    found: Any = facts.find(connection, REVIEWED)
    if not isinstance(found, dict):
        return None
    return Signed(
        datetime.fromisoformat(found["at"]),
        found["by"],
        found["digest"],
        [_from_json(each) for each in found["lines"]],
    )


def _line(
    connection: Connection,
    who: Person,
    every: list[shares.Share],
    grants: list[Any],
    now: datetime,
) -> AccountLine:
    terms = locums.of_person(connection, who.id) if who.role is Role.LOCUM else []
    open_terms = [each for each in terms if each.closed_at is None and each.ends_at > now]
    rights = []
    for share in every:
        if who.role is Role.LOCUM:  # what the term says: it may not have begun
            given = frozenset().union(*(each.rights.get(int(share.id), ()) for each in open_terms))
        else:
            given = rights_on(share.id, who, grants, now=now)
        if given:
            rights.append((share.label, tuple(each.value for each in Right if each in given)))
    signed_in = select(func.max(session.c.created_at)).where(session.c.person_id == who.id)
    last_at = connection.execute(signed_in).scalar()
    kinds = (
        select(second_factor.c.kind)
        .distinct()
        .where(
            second_factor.c.person_id == who.id,
            second_factor.c.kind.in_(_FACTORS),
            second_factor.c.removed_at.is_(None),
            or_(second_factor.c.kind == "passkey", second_factor.c.confirmed_at.is_not(None)),
        )
    )
    return AccountLine(
        person_id=int(who.id),
        name=who.name,
        login=who.login,
        role=who.role.value,
        since=who.created_at.isoformat(),
        last_sign_in=None if last_at is None else last_at.isoformat(),
        factors=tuple(sorted(connection.execute(kinds).scalars())),
        rights=tuple(rights),
        tokens=_living(connection, app_password, who, now),
        devices=_living(connection, tunnel_device, who, now),
        term=max((each.ends_at.isoformat() for each in open_terms), default=None),
    )


def _living(connection: Connection, table: Any, who: Person, now: datetime) -> int:  # noqa: ANN401
    query = (
        select(func.count())
        .select_from(table)
        .where(
            and_(table.c.person_id == who.id, table.c.revoked_at.is_(None)),
            or_(table.c.ends_at.is_(None), table.c.ends_at > now),
        )
    )
    return int(connection.execute(query).scalar_one())


def _from_json(values: dict[str, Any]) -> AccountLine:
    rights = tuple((label, tuple(given)) for label, given in values["rights"])
    return AccountLine(**{**values, "factors": tuple(values["factors"]), "rights": rights})
