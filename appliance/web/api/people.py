"""The people of the practice as JSON: accounts, and the yearly review of rights.

For programs that hold a session of a person who showed just now who they are; no token opens it.
"""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from appliance.accounts import first_account, links, people, review, sessions
from appliance.clock import utc_now
from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.model import Person, PersonId, Role
from appliance.policy.roles import Action
from appliance.web.deps import TheBox, TheVisitor, needs, proven
from appliance.web.pages.arrivals import origin_of
from appliance.web.pages.people import OFFERED, close, fresh_link, open_account

router = APIRouter(prefix="/api/v1", tags=["people"])

_LETS_IN = needs(Action.PEOPLE_LET_IN)
_CHANGES = needs(Action.PEOPLE_CHANGE)


@dataclass(frozen=True, slots=True)
class PersonBody:
    """One account; closed ones stay, for the ledger names them."""

    id: int
    login: str
    name: str
    role: str
    created_at: datetime
    closed_at: datetime | None
    sessions: int  # living ones


@dataclass(frozen=True, slots=True)
class NewPersonBody:
    """An account to be opened; a locum's is opened with its term."""

    login: str
    name: str
    role: str  # associate · secretary · technical-admin · owner


@dataclass(frozen=True, slots=True)
class EnteredBody:
    """An account and the one-time link by which it is entered; shown this once."""

    id: int
    url: str


@dataclass(frozen=True, slots=True)
class ReviewedAccountBody:
    """One account as a review shows it."""

    id: int
    name: str
    login: str
    role: str
    since: datetime
    last_sign_in: datetime | None
    factors: list[str]
    rights: dict[str, list[str]]  # share → rights
    tokens: int
    devices: int
    term: datetime | None


@dataclass(frozen=True, slots=True)
class ReviewBody:
    """What is to be looked through, and when that was last done."""

    accounts: list[ReviewedAccountBody]
    digest: str  # of just these lines; sent back when it is signed
    last_at: datetime | None
    last_by: str | None


@dataclass(frozen=True, slots=True)
class SignatureBody:
    """A review signed: every account confirmed."""

    digest: str
    confirmed: list[int]
    name: str  # of who signs, in full


@router.get("/people", name="api-people", dependencies=[_LETS_IN])
async def list_people(box: TheBox) -> list[PersonBody]:
    """Return every account, by name."""
    now = utc_now()

    def look(connection: Connection) -> list[PersonBody]:
        return [
            _person(each, len(sessions.living(connection, each.id, now=now)))
            for each in people.everybody(connection)
        ]

    return await box.read_aside(look)


@router.post("/people", name="api-person-add", status_code=201, dependencies=[_LETS_IN, proven()])
async def add_person(
    request: Request, box: TheBox, visitor: TheVisitor, wanted: NewPersonBody
) -> EnteredBody:
    """Open an account without a password; the answer holds the one-time link by which it is entered.

    Raises:
        InvalidInput, AlreadyExists.
    """
    login = wanted.login.strip().lower()
    first_account.check_names(login, wanted.name)
    if wanted.role not in {each.value for each in OFFERED}:
        raise InvalidInput("role", mark("Choose what this person may do."))
    role = Role(wanted.role)
    made, token = await box.write(
        lambda c: open_account(c, visitor, name=wanted.name, login=login, role=role)
    )
    return _entered(request, made, token)


@router.post("/people/{person_id}/link", name="api-person-link", dependencies=[_LETS_IN, proven()])
async def make_link(
    request: Request, box: TheBox, visitor: TheVisitor, person_id: int
) -> EnteredBody:
    """Make a new one-time link for a person who lost the password or is blocked.

    Raises:
        NotFound, InvalidInput.
    """
    person, token = await box.write(lambda c: fresh_link(c, visitor, PersonId(person_id)))
    return _entered(request, person, token)


@router.post(
    "/people/{person_id}/close",
    name="api-person-close",
    status_code=204,
    dependencies=[_CHANGES, proven()],
)
async def close_account(box: TheBox, visitor: TheVisitor, person_id: int) -> None:
    """Close an account and end its sessions at once.

    Raises:
        NotFound, InvalidInput: it is closed, or one's own.
    """
    await box.write(lambda c: close(c, visitor, PersonId(person_id)))


@router.get("/access-review", name="api-access-review", dependencies=[_CHANGES])
async def show_review(box: TheBox) -> ReviewBody:
    """Return every living account with all it opens, to be looked through."""

    def look(connection: Connection) -> ReviewBody:
        found = review.lines(connection, now=utc_now())
        last = review.last(connection)
        return ReviewBody(
            [
                ReviewedAccountBody(
                    id=each.person_id,
                    name=each.name,
                    login=each.login,
                    role=each.role,
                    since=datetime.fromisoformat(each.since),
                    last_sign_in=_moment(each.last_sign_in),
                    factors=list(each.factors),
                    rights={label: sorted(given) for label, given in each.rights},
                    tokens=each.tokens,
                    devices=each.devices,
                    term=_moment(each.term),
                )
                for each in found
            ],
            review.digest(found),
            None if last is None else last.at,
            None if last is None else last.by,
        )

    return await box.read_aside(look)


@router.post(
    "/access-review",
    name="api-access-review-sign",
    status_code=204,
    dependencies=[_CHANGES, proven()],
)
async def sign_review(box: TheBox, visitor: TheVisitor, signed: SignatureBody) -> None:
    """Sign that every account was looked through.

    Raises:
        InvalidInput: one is missing, something changed since, or nobody's name.
    """
    await box.write(
        lambda c: review.sign(
            c,
            by=visitor.person,
            confirmed=set(signed.confirmed),
            seen_digest=signed.digest,
            name=signed.name,
            now=utc_now(),
        )
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _person(person: Person, living: int) -> PersonBody:
    return PersonBody(
        person.id,
        person.login,
        person.name,
        person.role.value,
        person.created_at,
        person.disabled_at,
        living,
    )


def _entered(request: Request, person: Person, token: str) -> EnteredBody:
    return EnteredBody(person.id, links.address(origin_of(request), token))
