"""Replacements and emergency access as JSON; for programs that hold a session, no token opens it."""

from dataclasses import dataclass, field
from datetime import datetime

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from appliance.accounts import emergency, links, locums
from appliance.accounts.emergency import Access
from appliance.accounts.locums import Term
from appliance.clock import utc_now
from appliance.errors import InvalidInput, NotFound
from appliance.language import mark
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.deps import TheBox, TheVisitor, needs, proven
from appliance.web.pages.arrivals import origin_of
from appliance.web.pages.locums import answering
from appliance.web.pages.locums_prepare import prepare_term

router = APIRouter(
    prefix="/api/v1/locums", tags=["locums"], dependencies=[needs(Action.LOCUMS_CHANGE)]
)
emergency_router = APIRouter(
    prefix="/api/v1/emergency", tags=["emergency"], dependencies=[needs(Action.EMERGENCY_TAKE)]
)


@dataclass(frozen=True, slots=True)
class TermBody:
    """A replacement, as it was agreed."""

    id: int
    person_id: int  # the locum
    replaces_id: int
    sponsor_id: int
    starts_at: datetime
    ends_at: datetime  # the first moment outside
    closed_at: datetime | None
    is_running: bool
    may_copy_cases: bool
    rights: dict[str, list[str]]  # share's number → rights


@dataclass(frozen=True, slots=True)
class NewTermBody:
    """A replacement to be prepared."""

    starts_at: str  # ISO 8601; without a zone in the practice's
    ends_at: str
    rpps: str
    replaces_id: int = 0  # 0: of an associate themselves
    person_id: int | None = None  # a locum's account that is there; else name and login
    name: str = ""
    login: str = ""
    rights: dict[str, list[str]] = field(default_factory=dict)
    may_copy_cases: bool = False


@dataclass(frozen=True, slots=True)
class PreparedBody:
    """A replacement and the one-time link by which the locum comes in; shown this once."""

    term: TermBody
    url: str
    url_until: datetime


@dataclass(frozen=True, slots=True)
class ExtensionBody:
    """Another end."""

    ends_at: datetime


@router.get("", name="api-locums")
async def list_terms(box: TheBox, visitor: TheVisitor) -> list[TermBody]:
    """Return the replacements one answers for, the newest first."""
    now = utc_now()
    found = await box.read_aside(locums.every)
    return [_term(each, now) for each in found if each.answers(visitor.person)]


@router.post("", name="api-locum-prepare", status_code=201, dependencies=[proven()])
async def prepare(
    request: Request, box: TheBox, visitor: TheVisitor, wanted: NewTermBody
) -> PreparedBody:
    """Prepare a replacement: the account, its dates, a part of the rights of whom it stands in for.

    Raises:
        InvalidInput, NotFound, NotAllowed, AlreadyExists.
    """
    now = utc_now()
    values = {
        "name": wanted.name.strip(),
        "login": wanted.login.strip(),
        "rpps": wanted.rpps.strip(),
        "starts": wanted.starts_at.strip(),
        "ends": wanted.ends_at.strip(),
        "known": "" if wanted.person_id is None else str(wanted.person_id),
        "case_copies": "yes" if wanted.may_copy_cases else "",
    }
    known = {each.value for each in Right}
    rights: dict[int, frozenset[Right]] = {}
    for share, given in wanted.rights.items():
        if not (share.isascii() and share.isdecimal() and len(share) < 10 and set(given) <= known):
            raise InvalidInput("rights", mark("A share's number and its rights, please."))
        rights[int(share)] = frozenset(Right(each) for each in given)
    term, token, until = await box.write(
        lambda c: prepare_term(c, box, visitor, values, rights, wanted.replaces_id, now)
    )
    url = links.address(origin_of(request), token)
    return PreparedBody(_term(term, now), url, until)


@router.get("/{term_id}", name="api-locum")
async def show_term(box: TheBox, visitor: TheVisitor, term_id: int) -> TermBody:
    """Return one replacement.

    Raises:
        NotFound: there is none, or one does not answer for it.
    """
    return _term(await box.read_aside(lambda c: answering(c, visitor, term_id)), utc_now())


@router.post("/{term_id}/extend", name="api-locum-extend", dependencies=[proven()])
async def extend(box: TheBox, visitor: TheVisitor, term_id: int, wanted: ExtensionBody) -> TermBody:
    """Move the end of a replacement; never the locum themselves.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    now = utc_now()
    if wanted.ends_at.tzinfo is None:
        raise InvalidInput("ends", mark("A day and a time, please."))

    def change(connection: Connection) -> Term:
        answering(connection, visitor, term_id)
        return locums.extend(connection, term_id, wanted.ends_at, by=visitor.person, now=now)

    return _term(await box.write(change), now)


@router.post("/{term_id}/end", name="api-locum-end")
async def end(box: TheBox, visitor: TheVisitor, term_id: int) -> TermBody:
    """End a replacement now, with all that is open of it.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    now = utc_now()

    def change(connection: Connection) -> Term:
        answering(connection, visitor, term_id)
        return locums.end(connection, term_id, by=visitor.person, now=now)

    return _term(await box.write(change), now)


def _term(term: Term, now: datetime) -> TermBody:
    return TermBody(
        term.id,
        term.person_id,
        term.replaces_id,
        term.sponsor_id,
        term.starts_at,
        term.ends_at,
        term.closed_at,
        term.is_running(now),
        term.may_copy_cases,
        {str(share): sorted(given) for share, given in term.rights.items()},
    )


# --- emergency access ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AccessBody:
    """One emergency access."""

    id: int
    person_id: int
    share_id: int
    reason: str
    beneficiary: str
    began_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    is_running: bool
    reviewed_at: datetime | None
    reviewed_by: int | None
    review: str


@dataclass(frozen=True, slots=True)
class NewAccessBody:
    """An emergency access to be taken, with its reason."""

    share_id: int
    reason: str
    beneficiary: str = ""


@dataclass(frozen=True, slots=True)
class AccessReviewBody:
    """What somebody who looked at an access writes under it."""

    review: str


@emergency_router.get("", name="api-emergency")
async def list_accesses(box: TheBox, visitor: TheVisitor) -> list[AccessBody]:
    """Return one's own accesses; to an owner everybody's."""
    now = utc_now()
    all_of_them = visitor.may(Action.EMERGENCY_REVIEW)
    found = await box.read_aside(emergency.every)
    return [
        _access(each, now) for each in found if all_of_them or each.person_id == visitor.person.id
    ]


@emergency_router.post("", name="api-emergency-begin", status_code=201)
async def begin(box: TheBox, visitor: TheVisitor, wanted: NewAccessBody) -> AccessBody:
    """Open a share for some minutes, and tell who answers for it at once.

    Raises:
        InvalidInput, NotFound.
    """
    now = utc_now()
    taken = await box.write(
        lambda c: emergency.begin(
            c,
            visitor.person,
            share_id=wanted.share_id,
            reason=wanted.reason,
            beneficiary=wanted.beneficiary,
            now=now,
        )
    )
    return _access(taken, now)


@emergency_router.get("/{access_id}", name="api-emergency-show")
async def show_access(box: TheBox, visitor: TheVisitor, access_id: int) -> AccessBody:
    """Return one access.

    Raises:
        NotFound: there is none, or it is not for who asks.
    """
    found = await box.read_aside(lambda c: emergency.get(c, access_id))
    if found.person_id != visitor.person.id and not visitor.may(Action.EMERGENCY_REVIEW):
        raise NotFound("emergency access", str(access_id))
    return _access(found, utc_now())


@emergency_router.post("/{access_id}/end", name="api-emergency-end")
async def end_access(box: TheBox, visitor: TheVisitor, access_id: int) -> AccessBody:
    """End one's own access now; an owner, anybody's.

    Raises:
        NotFound.
    """
    now = utc_now()
    done = await box.write(lambda c: emergency.stop(c, access_id, by=visitor.person, now=now))
    return _access(done, now)


@emergency_router.post(
    "/{access_id}/review",
    name="api-emergency-review",
    status_code=204,
    dependencies=[needs(Action.EMERGENCY_REVIEW)],
)
async def review_access(
    box: TheBox, visitor: TheVisitor, access_id: int, wanted: AccessReviewBody
) -> None:
    """Sign that an access was looked at.

    Raises:
        NotFound, NotAllowed: one's own, while another owner is there. InvalidInput.
    """
    await box.write(
        lambda c: emergency.review(c, access_id, wanted.review, by=visitor.person, now=utc_now())
    )


def _access(one: Access, now: datetime) -> AccessBody:
    return AccessBody(
        one.id,
        one.person_id,
        one.share_id,
        one.reason,
        one.beneficiary,
        one.began_at,
        one.ends_at,
        one.ended_at,
        one.is_running(now),
        one.reviewed_at,
        one.reviewed_by,
        one.review or "",
    )
