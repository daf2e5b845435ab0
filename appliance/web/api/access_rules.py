"""Who signs in how, as JSON: the practice's rules, everybody's second factors and sessions, other services (OIDC).

For a session of who may change people, and what changes anything asks for a fresh proof; no token opens it.
"""

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from sqlalchemy import Connection

from appliance.accounts import oidc_providers, sign_in_rules
from appliance.accounts.oidc_providers import Provider
from appliance.accounts.sign_in_rules import Rules
from appliance.clock import utc_now
from appliance.errors import NotFound
from appliance.model import PersonId
from appliance.policy.roles import Action
from appliance.web.api.account import EndedBody
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, needs, proven
from appliance.web.pages.arrivals import origin_of
from appliance.web.pages.oidc import BACK
from appliance.web.pages.oidc_settings import LONGEST, ends, prepare_account, preset, put_service
from appliance.web.pages.sign_in_rules import (
    PersonLine,
    ask_factor,
    end_everybodys,
    end_persons,
    forget_factors_of,
    person_lines,
)

router = APIRouter(prefix="/api/v1/access", tags=["access"])

Text = Annotated[str, Field(max_length=LONGEST)]
#: Goes in, comes out of no answer; a private key is some kilobytes.
LongSecret = Annotated[str, Field(max_length=LONGEST, json_schema_extra={"format": "password"})]


@dataclass(frozen=True, slots=True)
class PersonBody:
    """How one person signs in."""

    id: int
    name: str
    role: str
    factors: list[str]  # totp · passkey, newest first
    sessions: int  # living ones
    seen_at: datetime | None  # last click of a living session
    is_always_asked: bool  # the role shows a second factor anyway
    is_asked: bool  # set for this person
    prepared: dict[str, str]  # service → number


@dataclass(frozen=True, slots=True)
class AccessBody:
    """The rules, and how everybody signs in."""

    rules: Rules
    people: list[PersonBody]


@dataclass(frozen=True, slots=True)
class NeedBody:
    """Whether a person is asked for a second factor at the practice too."""

    is_asked: bool


@dataclass(frozen=True, slots=True)
class NumberBody:
    """What the service's word must show: an RPPS for Pro Santé Connect."""

    number: Annotated[str, Field(min_length=1, max_length=200)]


@dataclass(frozen=True, slots=True)
class ServiceFieldsBody:
    """Another service that says who somebody is, as it was registered there."""

    name: Text
    issuer: Text
    client_id: Text
    discovery: Text = ""  # where its addresses are read; empty: they are given here
    authorize: Text = ""
    token: Text = ""
    keys: Text = ""
    userinfo: Text = ""
    logout: Text = ""
    scope: Text = "openid"
    extra: dict[str, str] = field(default_factory=dict)  # more of the request: acr_values → eidas1
    acr: Text = ""  # then it counts as two factors
    subject_claim: Text = "sub"
    subject_prefix: Text = ""
    ca: Text = ""  # PEM
    is_on: bool = True
    authentication: Literal[
        "client_secret_post", "tls_client_auth", "self_signed_tls_client_auth"
    ] = "client_secret_post"
    certificate: Text = ""  # PEM


@dataclass(frozen=True, slots=True)
class ServiceBody:
    """A service; nothing that is secret of it."""

    id: str
    settings: ServiceFieldsBody
    has_secret: bool
    has_key: bool
    certificate_ends: datetime | None
    redirect_uri: str  # to register there, exactly
    logout_uri: str


@dataclass(frozen=True, slots=True)
class WantedServiceBody:
    """A service to be stored."""

    settings: ServiceFieldsBody
    secret: LongSecret = field(default="", repr=False)  # empty: the one that is stored stays
    key: LongSecret = field(default="", repr=False)  # of the certificate, PEM; empty: as before
    makes_pair: bool = False  # certificate and key are made here


_SEEN = [needs(Action.PEOPLE_CHANGE)]
_CHANGED = [needs(Action.PEOPLE_CHANGE), proven()]


@router.get("", name="api-access", dependencies=_SEEN)
async def show_access(box: TheBox, visitor: TheVisitor) -> AccessBody:
    """Return the rules, and how everybody signs in whose account is open."""
    return await box.read_aside(lambda c: _access(c, visitor))


@router.put("/rules", name="api-access-rules", dependencies=_CHANGED)
async def change_rules(box: TheBox, visitor: TheVisitor, wanted: Rules) -> AccessBody:
    """Store the rules; the idle limit reaches living sessions at once.

    Raises:
        InvalidInput, ProofNeeded.
    """
    me = visitor.person.id

    def change(connection: Connection) -> AccessBody:
        sign_in_rules.put(connection, wanted, by=me, now=utc_now())
        return _access(connection, visitor)

    return await box.write(change)


@router.post("/end-all", name="api-access-end-all", dependencies=_CHANGED)
async def end_all(box: TheBox, visitor: TheVisitor) -> EndedBody:
    """End everybody's sessions at once, but this one."""
    return EndedBody(await box.write(lambda c: end_everybodys(c, visitor)))


@router.post("/people/{person_id}/end", name="api-access-end", dependencies=_CHANGED)
async def end_of_person(box: TheBox, visitor: TheVisitor, person_id: int) -> EndedBody:
    """End every session of one person, but this one.

    Raises:
        NotFound.
    """
    return EndedBody(await box.write(lambda c: end_persons(c, visitor, PersonId(person_id))))


@router.put(
    "/people/{person_id}/second-factor",
    name="api-access-needs",
    status_code=204,
    dependencies=_CHANGED,
)
async def set_needs(box: TheBox, visitor: TheVisitor, person_id: int, wanted: NeedBody) -> None:
    """Ask this person for a second factor at the practice too, or no longer.

    Raises:
        NotFound.
    """
    await box.write(
        lambda c: ask_factor(c, visitor, PersonId(person_id), is_needed=wanted.is_asked)
    )


@router.post(
    "/people/{person_id}/forget-factors",
    name="api-access-forget-factors",
    status_code=204,
    dependencies=[needs(Action.PEOPLE_LET_IN), proven()],
)
async def forget_factors(box: TheBox, visitor: TheVisitor, person_id: int) -> None:
    """Remove the second factors of a person who lost them, and end their sessions.

    Raises:
        NotFound. InvalidInput: one's own are changed as one's own.
    """
    await box.write(lambda c: forget_factors_of(c, visitor, PersonId(person_id)))


@router.put(
    "/people/{person_id}/services/{service_id}",
    name="api-access-prepare",
    status_code=204,
    dependencies=_CHANGED,
)
async def prepare(
    box: TheBox, visitor: TheVisitor, person_id: int, service_id: str, wanted: NumberBody
) -> None:
    """Prepare an account for a service.

    Raises:
        NotFound. InvalidInput: it is no such number, or another account has it.
    """
    await box.write(
        lambda c: prepare_account(c, visitor, PersonId(person_id), service_id, wanted.number)
    )


@router.delete(
    "/people/{person_id}/services/{service_id}",
    name="api-access-unprepare",
    status_code=204,
    dependencies=_CHANGED,
)
async def unprepare(box: TheBox, visitor: TheVisitor, person_id: int, service_id: str) -> None:
    """End a person's way in through a service.

    Raises:
        NotFound.
    """
    await box.write(lambda c: prepare_account(c, visitor, PersonId(person_id), service_id, ""))


@router.get("/services", name="api-access-services", dependencies=_SEEN)
async def list_services(request: Request, box: TheBox) -> list[ServiceBody]:
    """Return the services that were set up, in their order."""
    with box.database.read() as connection:
        found = oidc_providers.read(connection)
    return [_service(request, each) for each in found]


@router.get("/services/{service_id}", name="api-access-service", dependencies=_SEEN)
async def show_service(request: Request, box: TheBox, service_id: str) -> ServiceBody:
    """Return a service.

    Raises:
        NotFound.
    """
    return _service(request, _stored(box, service_id))


@router.get("/presets/{name}", name="api-access-preset", dependencies=_SEEN)
async def show_preset(request: Request, name: str) -> ServiceBody:
    """Return how a service begins: «new-psc» is Pro Santé Connect, «new-psc-test» its test, «new» any other.

    Raises:
        NotFound.
    """
    found = preset(name)
    if found is None:
        raise NotFound("service", name)
    return _service(request, found)


@router.put("/services/{service_id}", name="api-access-service-save", dependencies=_CHANGED)
async def save_service(
    request: Request, box: TheBox, visitor: TheVisitor, service_id: str, wanted: WantedServiceBody
) -> ServiceBody:
    """Store a service, in place of an older one of its id; its secrets go in sealed and never come out.

    Raises:
        InvalidInput, ProofNeeded.
    """
    given: dict[str, Any] = {
        each.name: getattr(wanted.settings, each.name) for each in fields(ServiceFieldsBody)
    }
    texts = {name: value.strip() for name, value in given.items() if isinstance(value, str)}
    rest = {"id": service_id, "extra": tuple(wanted.settings.extra.items())}
    provider = Provider(**given | texts | rest)
    await put_service(box, visitor, provider, wanted.secret, wanted.key, is_made=wanted.makes_pair)
    return _service(request, _stored(box, service_id))


@router.delete(
    "/services/{service_id}",
    name="api-access-service-remove",
    status_code=204,
    dependencies=_CHANGED,
)
async def remove_service(box: TheBox, visitor: TheVisitor, service_id: str) -> None:
    """Forget a service and its secrets.

    Raises:
        NotFound.
    """
    me = visitor.person.id
    await box.write(lambda c: oidc_providers.remove(c, service_id, by=me, now=utc_now()))


def _access(connection: Connection, visitor: Visitor) -> AccessBody:
    return AccessBody(
        sign_in_rules.read(connection),
        [_person(each) for each in person_lines(connection, visitor)],
    )


def _person(line: PersonLine) -> PersonBody:
    return PersonBody(
        line.person.id,
        line.person.name,
        line.person.role.value,
        line.factors,
        line.sessions,
        line.seen_at,
        line.is_always,
        line.needs,
        line.prepared,
    )


def _stored(box: Box, service_id: str) -> Provider:
    with box.database.read() as connection:
        return oidc_providers.get(connection, service_id)


def _service(request: Request, one: Provider) -> ServiceBody:
    values = {each.name: getattr(one, each.name) for each in fields(ServiceFieldsBody)}
    return ServiceBody(
        one.id,
        ServiceFieldsBody(**values | {"extra": dict(one.extra)}),
        one.secret != "",
        one.key != "",
        ends(one),
        origin_of(request) + BACK,
        f"{origin_of(request)}/sign-in",
    )
