"""Who may do what on a share: one table, closed by default, the same through every door (domain.md SEC-02, SEC-03).

Technical administrators and the sealed envelope see no document, whatever was granted by mistake. A locum has the part of the
rights of whom they replace that was chosen, from date to date. Emergency access («bris de glace») lets a
health professional read for some minutes, and is reviewed afterwards.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from appliance.language import mark
from appliance.model import Person, PersonId, Role
from appliance.policy.roles import WITHOUT_DOCUMENTS


class Right(StrEnum):
    """What may be allowed on a share."""

    SEE = "see"  # names and contents; also versions and search
    ADD = "add"  # new files and folders
    CHANGE = "change"  # write over, rename, move within
    DELETE = "delete"  # to the bin; also move away
    SHARE_OUT = "share-out"  # links for correspondents


RIGHT_TEXTS: Final[dict[Right, str]] = {
    Right.SEE: mark("see"),
    Right.ADD: mark("add"),
    Right.CHANGE: mark("change"),
    Right.DELETE: mark("delete"),
    Right.SHARE_OUT: mark("share outside"),
}
ALL: Final = frozenset(Right)
NONE: Final[frozenset[Right]] = frozenset()
#: What emergency access gives.
EMERGENCY: Final = frozenset({Right.SEE})
#: Who may take emergency access: habilitated health professionals.
PROFESSIONALS: Final = frozenset({Role.OWNER, Role.ASSOCIATE, Role.LOCUM})
#: Rights a whole write connection needs where a protocol knows only «read» and «write» (SMB).
WRITE: Final = frozenset({Right.SEE, Right.ADD, Right.CHANGE, Right.DELETE})


@dataclass(frozen=True, slots=True)
class Grant:
    """Rights on one share, to a person or to everybody of a role."""

    share_id: int
    rights: frozenset[Right]
    person_id: PersonId | None = None
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class LocumTerm:
    """A locum's term, as agreed with whom they replace."""

    starts_at: datetime
    ends_at: datetime  # the first moment that is outside
    replaces: Person
    rights: Mapping[int, frozenset[Right]] = field(default_factory=dict)  # share id → chosen rights
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Emergency:
    """A running emergency access."""

    share_id: int
    began_at: datetime
    ends_at: datetime


def rights_on(
    share_id: int,
    person: Person,
    grants: Collection[Grant],
    *,
    now: datetime,
    terms: Sequence[LocumTerm] = (),
    emergencies: Collection[Emergency] = (),
) -> frozenset[Right]:
    """Return what a person may do on a share at ``now``.

    Args:
        share_id: the share.
        person: who asks, as stored; nothing of a session matters here.
        grants: of this share; others are passed over.
        now: aware UTC.
        terms: of a locum, every one of theirs.
        emergencies: of this person.
    """
    if person.disabled_at is not None or person.role in WITHOUT_DOCUMENTS:
        return NONE
    rights: frozenset[Right]
    if person.role is Role.LOCUM:
        term = running_term(terms, now)
        if term is None:
            return NONE
        chosen = term.rights.get(share_id, NONE)
        rights = chosen & _granted(share_id, term.replaces, grants)
    else:
        rights = _granted(share_id, person, grants)
    if person.role in PROFESSIONALS and any(
        each.share_id == share_id and each.began_at <= now < each.ends_at for each in emergencies
    ):
        rights |= EMERGENCY
    return rights


def running_term(terms: Sequence[LocumTerm], now: datetime) -> LocumTerm | None:
    """Return the term in which a locum works at ``now``, or None: the account is shut."""
    return next(
        (
            each
            for each in terms
            if not each.closed
            and each.starts_at <= now < each.ends_at
            and each.replaces.disabled_at is None
        ),
        None,
    )


def _granted(share_id: int, person: Person, grants: Collection[Grant]) -> frozenset[Right]:
    if person.disabled_at is not None or person.role in WITHOUT_DOCUMENTS:
        return NONE
    found = [
        each.rights
        for each in grants
        if each.share_id == share_id
        and (
            each.person_id == person.id
            or (each.person_id is None and each.role is not None and each.role is person.role)
        )
    ]
    return frozenset().union(*found)
