"""Passwords of one's own programs as JSON: API tokens, WebDAV, metrics, the file explorer; by a session only."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from appliance.accounts import app_passwords
from appliance.accounts.app_passwords import AppPassword, Kind, Scope
from appliance.clock import utc_now
from appliance.disk import smb_passwords
from appliance.policy.roles import Action
from appliance.web.api.account import NOT_KEPT
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, needs, proven
from appliance.web.pages.connect import put_password
from appliance.web.pages.tokens import dav_url, make_one, revoke_one

router = APIRouter(prefix="/api/v1/account", tags=["account"])


@dataclass(frozen=True, slots=True)
class TokenBody:
    """A password of a program; its secret is known to that program alone."""

    id: int
    kind: Kind
    label: str
    scope: list[Scope]  # of an API token
    created_at: datetime
    ends_at: datetime | None
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewTokenBody:
    """A password to be made."""

    kind: Kind
    label: str
    scope: list[Scope] = field(default_factory=list)  # of an API token, at least one
    days: Annotated[int, Field(ge=0, le=100_000)] = app_passwords.USUAL_DAYS


@dataclass(frozen=True, slots=True)
class MadeTokenBody:
    """A new password and its secret, shown this once."""

    token: TokenBody
    secret: str = field(repr=False)
    url: str  # of WebDAV


@dataclass(frozen=True, slots=True)
class ExplorerBody:
    """One's password of the file explorer."""

    since: datetime | None  # null: one has none
    waits: bool  # a change is on its way to the file explorer's service


@dataclass(frozen=True, slots=True)
class ExplorerPasswordBody:
    """A new password of the file explorer, shown this once."""

    password: str = field(repr=False)


@router.get("/tokens", name="api-tokens")
async def list_tokens(box: TheBox, visitor: TheVisitor) -> list[TokenBody]:
    """Return the passwords of one's programs that open something, newest first."""
    with box.database.read() as connection:
        found = app_passwords.living(connection, visitor.person.id, now=utc_now())
    return [_token(each) for each in found]


@router.post("/tokens", name="api-token-make", status_code=201, dependencies=[proven()])
async def make_token(
    request: Request, response: Response, box: TheBox, visitor: TheVisitor, wanted: NewTokenBody
) -> MadeTokenBody:
    """Make one; its secret is in this answer and nowhere else.

    Raises:
        NotAllowed: this role has no use for that kind. InvalidInput, ProofNeeded.
    """
    response.headers.update(NOT_KEPT)
    secret, made = await box.write(
        lambda c: make_one(
            c,
            visitor,
            kind=wanted.kind,
            label=wanted.label,
            scope=frozenset(wanted.scope),
            days=wanted.days,
        )
    )
    return MadeTokenBody(_token(made), secret, dav_url(request))


@router.post("/tokens/{token_id}/revoke", name="api-token-revoke", status_code=204)
async def revoke_token(box: TheBox, visitor: TheVisitor, token_id: int) -> None:
    """Revoke one: the next request with it is refused.

    Raises:
        NotFound.
    """
    await box.write(lambda c: revoke_one(c, visitor, token_id))


@router.get("/file-explorer", name="api-explorer", dependencies=[needs(Action.DISK_USE)])
async def show_explorer(box: TheBox, visitor: TheVisitor) -> ExplorerBody:
    """Say whether one has a password for the file explorer (SMB)."""
    return _explorer(box, visitor)


@router.post(
    "/file-explorer",
    name="api-explorer-make",
    status_code=201,
    dependencies=[needs(Action.DISK_USE)],
)
async def make_explorer(
    response: Response, box: TheBox, visitor: TheVisitor
) -> ExplorerPasswordBody:
    """Make a new password for the file explorer, in place of the former; it is in this answer and nowhere else."""
    response.headers.update(NOT_KEPT)
    words = smb_passwords.make()
    await put_password(box, visitor, words)
    return ExplorerPasswordBody(words)


@router.delete("/file-explorer", name="api-explorer-remove", dependencies=[needs(Action.DISK_USE)])
async def remove_explorer(box: TheBox, visitor: TheVisitor) -> ExplorerBody:
    """Take the password away: the file explorer asks in vain from now on."""
    await put_password(box, visitor, "")
    return _explorer(box, visitor)


def _explorer(box: Box, visitor: Visitor) -> ExplorerBody:
    who = visitor.person.id
    with box.database.read() as connection:
        return ExplorerBody(
            smb_passwords.since(connection, who), who in smb_passwords.waiting(connection)
        )


def _token(one: AppPassword) -> TokenBody:
    return TokenBody(
        one.id, one.kind, one.label, sorted(one.scope), one.created_at, one.ends_at, one.used_at
    )
