"""One's own account as JSON: password, sessions, second factors, and showing again who one is.

For a person's session only: no token opens any of it. What is a secret is in one answer, which nothing may keep.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import Response

from appliance.accounts import people, second_factors, sessions, sign_in_rules
from appliance.accounts import sign_in as signing_in
from appliance.accounts.devices import browser_of
from appliance.accounts.second_factors import Factor
from appliance.accounts.sessions import Session
from appliance.clock import utc_now
from appliance.db import local_networks
from appliance.errors import InvalidInput
from appliance.language import Language
from appliance.web.api.copies_add import SecretText
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of
from appliance.web.pages import account, account_prove, arrivals
from appliance.web.pages.account_factors import (
    TheMaker,
    asked_of_device,
    begun,
    confirmed,
    kept,
    picture,
    removed,
    renewed_codes,
)

router = APIRouter(prefix="/api/v1/account", tags=["account"])

#: What holds a secret is kept by nothing on its way.
NOT_KEPT: Final = {"cache-control": "no-store"}
Label = Annotated[str, Field(max_length=200)]


@dataclass(frozen=True, slots=True)
class SessionBody:
    """A living session of one's own."""

    id: int
    is_this_one: bool
    began_at: datetime
    seen_at: datetime
    ends_at: datetime  # at the latest
    address: str
    browser: str  # «Firefox, Windows»
    factors: list[str]  # what was shown: password · totp · passkey · recovery · link…


@dataclass(frozen=True, slots=True)
class AccountBody:
    """One's own account."""

    id: int
    login: str
    name: str
    role: str
    language: Language
    created_at: datetime
    proven_at: (
        datetime | None
    )  # when one last showed who one is; what matters most asks for that anew
    came_by_link: bool  # just now: the old password is not asked for
    idle_minutes: int  # without a click, a session ends
    second_factors: int
    is_factor_required: bool  # from where one is now
    sessions: list[SessionBody]  # newest first


@dataclass(frozen=True, slots=True)
class OwnBody:
    """What one may change of one's account."""

    language: Language


@dataclass(frozen=True, slots=True)
class NewPasswordBody:
    """Another password."""

    password: SecretText = field(repr=False)
    current: SecretText = field(default="", repr=False)  # not asked for just after a one-time link


@dataclass(frozen=True, slots=True)
class EndedBody:
    """How many sessions ended."""

    count: int


@router.get("", name="api-account")
async def show_account(request: Request, box: TheBox, visitor: TheVisitor) -> AccountBody:
    """Return one's own account."""
    return await _account(request, box, visitor)


@router.patch("", name="api-account-change")
async def change_account(
    request: Request, box: TheBox, visitor: TheVisitor, wanted: OwnBody
) -> AccountBody:
    """Choose the language of one's pages."""
    who = visitor.person.id
    await box.write(lambda c: people.set_language(c, who, wanted.language))
    return await _account(request, box, visitor)


@router.post("/password", name="api-account-password")
async def change_password(
    request: Request, box: TheBox, visitor: TheVisitor, wanted: NewPasswordBody
) -> AccountBody:
    """Change one's password and end one's other sessions.

    Raises:
        InvalidInput: «current» is wrong, which counts as a failed sign-in, or «password» is too weak.
        TooManyAttempts, AccountBlocked.
    """
    problems = await account.put_password(
        box, visitor, wanted.current, wanted.password, wanted.password, language_of(request)
    )
    if problems:
        raise InvalidInput(*problems[0])
    return await _account(request, box, visitor)


@router.post("/sessions/{session_id}/end", name="api-account-end-session", status_code=204)
async def end_session(box: TheBox, visitor: TheVisitor, session_id: int) -> None:
    """End one of one's own sessions.

    Raises:
        NotFound.
    """
    await box.write(lambda c: account.end_own(c, visitor, session_id))


@router.post("/sessions/end", name="api-account-end-others")
async def end_others(box: TheBox, visitor: TheVisitor) -> EndedBody:
    """End all of one's own sessions but this one."""
    return EndedBody(await box.write(lambda c: account.end_own_others(c, visitor)))


async def _account(request: Request, box: Box, visitor: Visitor) -> AccountBody:
    address = arrivals.address_of(request)

    def look(connection: Connection) -> AccountBody:
        person = people.get(connection, visitor.person.id)
        return AccountBody(
            id=person.id,
            login=person.login,
            name=person.name,
            role=person.role.value,
            language="en" if person.language == "en" else "fr",
            created_at=person.created_at,
            proven_at=visitor.session.proven_at,
            came_by_link=account.came_by_link(visitor),
            idle_minutes=int(sign_in_rules.read(connection).idle.total_seconds() // 60),
            second_factors=len(second_factors.of_person(connection, person.id)),
            is_factor_required=signing_in.is_required(
                connection, person, is_local=local_networks.is_local(connection, address)
            ),
            sessions=[
                _session(each, visitor.session.id)
                for each in sessions.living(connection, person.id, now=utc_now())
            ],
        )

    return await box.read_aside(look)


def _session(one: Session, current: int) -> SessionBody:
    return SessionBody(
        one.id,
        one.id == current,
        one.created_at,
        one.seen_at,
        one.ends_at,
        one.address,
        browser_of(one.user_agent),
        one.factors.split("+"),
    )


# --- showing again who one is --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProofBody:
    """One's password or a code: one of them."""

    password: SecretText = field(default="", repr=False)
    code: SecretText = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AnswerBody:
    """What the device answered, as the browser has it."""

    answer: dict[str, Any] = field(repr=False)


@router.post("/prove", name="api-account-prove", status_code=204)
async def prove(request: Request, box: TheBox, visitor: TheVisitor, shown: ProofBody) -> None:
    """Show again who one is, for what matters most in the minutes that follow.

    Raises:
        PasswordWrong, CodeWrong: it counts as a failed sign-in. TooManyAttempts, AccountBlocked.
    """
    await account_prove.shown(request, box, visitor, shown.password, shown.code)


@router.post(
    "/prove/passkey/options",
    name="api-account-prove-options",
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def prove_options(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Return what a passkey of one's own is asked to sign."""
    return _json(account_prove.asked_of_passkey(request, box, visitor))


@router.post("/prove/passkey", name="api-account-prove-passkey", status_code=204)
async def prove_by_passkey(
    request: Request, box: TheBox, visitor: TheVisitor, shown: AnswerBody
) -> None:
    """Show again who one is by a passkey.

    Raises:
        PasskeyRefused, TooManyAttempts, AccountBlocked.
    """
    await account_prove.shown_by_passkey(request, box, visitor, _text(shown.answer))


# --- second factors ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FactorBody:
    """A second factor of one's own."""

    id: int
    kind: Literal["totp", "passkey"]
    label: str
    created_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class FactorsBody:
    """What one signs in with besides the password."""

    factors: list[FactorBody]  # newest first
    recovery_codes_left: int


@dataclass(frozen=True, slots=True)
class DraftBody:
    """The secret of an application; it counts once its first code was sent back."""

    secret: str  # base32, to type
    address: str  # otpauth://…
    picture: str  # the same to scan, SVG


@dataclass(frozen=True, slots=True)
class FirstCodeBody:
    """The first code of an application that was begun."""

    code: SecretText = field(repr=False)
    label: Label = ""


@dataclass(frozen=True, slots=True)
class PasskeyBody:
    """A passkey that a device has made, as the browser has it."""

    answer: dict[str, Any] = field(repr=False)
    label: Label = ""


@dataclass(frozen=True, slots=True)
class CodesBody:
    """Recovery codes, shown this once; with a factor that is not the first: none."""

    recovery_codes: list[str]


@router.get("/second-factors", name="api-factors")
async def show_factors(box: TheBox, visitor: TheVisitor) -> FactorsBody:
    """Return one's second factors."""
    who = visitor.person.id
    with box.database.read() as connection:
        return FactorsBody(
            [_factor(each) for each in second_factors.of_person(connection, who)],
            second_factors.codes_left(connection, who),
        )


@router.post("/second-factors/application", name="api-factors-application", status_code=201)
async def begin_application(response: Response, box: TheBox, maker: TheMaker) -> DraftBody:
    """Make a secret for an application; an older one that was not confirmed ends.

    Raises:
        ProofNeeded.
    """
    response.headers.update(NOT_KEPT)
    draft = await begun(box, maker)
    return DraftBody(draft.secret, draft.address, picture(draft))


@router.post("/second-factors/application/confirm", name="api-factors-confirm")
async def confirm_application(
    request: Request, response: Response, box: TheBox, maker: TheMaker, shown: FirstCodeBody
) -> CodesBody:
    """Take the application into use: its first code proves that the secret arrived.

    Raises:
        CodeWrong: it counts as a failed sign-in. TooManyAttempts, AccountBlocked, ProofNeeded.
    """
    response.headers.update(NOT_KEPT)
    done = await confirmed(request, box, maker, shown.code, shown.label)
    return CodesBody(done.codes or [])


@router.post(
    "/second-factors/passkey/options",
    name="api-factors-options",
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def passkey_options(request: Request, box: TheBox, maker: TheMaker) -> Response:
    """Return what a device needs to make a passkey.

    Raises:
        ProofNeeded.
    """
    return _json(asked_of_device(request, box, maker))


@router.post("/second-factors/passkey", name="api-factors-passkey", status_code=201)
async def add_passkey(
    request: Request, response: Response, box: TheBox, maker: TheMaker, made: PasskeyBody
) -> CodesBody:
    """Keep a passkey that a device has made.

    Raises:
        PasskeyRefused, ProofNeeded.
    """
    response.headers.update(NOT_KEPT)
    done = await kept(request, box, maker, _text(made.answer), made.label)
    return CodesBody(done.codes or [])


@router.post("/second-factors/codes", name="api-factors-codes", status_code=201)
async def new_codes(response: Response, box: TheBox, maker: TheMaker) -> CodesBody:
    """Make ten new recovery codes; the older ones end.

    Raises:
        ProofNeeded.
    """
    response.headers.update(NOT_KEPT)
    return CodesBody(await renewed_codes(box, maker))


@router.delete("/second-factors/{factor_id}", name="api-factors-remove", status_code=204)
async def remove_factor(box: TheBox, maker: TheMaker, factor_id: int) -> None:
    """Remove an application or a passkey; with the last one the recovery codes go.

    Raises:
        NotFound, ProofNeeded.
    """
    await removed(box, maker, factor_id)


def _factor(one: Factor) -> FactorBody:
    kind: Literal["totp", "passkey"] = "totp" if one.kind == "totp" else "passkey"
    return FactorBody(one.id, kind, one.label, one.created_at, one.used_at)


def _json(text: str) -> Response:
    return Response(text, media_type="application/json", headers=NOT_KEPT)


def _text(answer: dict[str, Any]) -> str:
    return json.dumps(answer)
