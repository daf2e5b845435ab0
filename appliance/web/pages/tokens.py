"""One's own passwords of programs: made, shown once, revoked."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import app_passwords
from appliance.accounts.app_passwords import KIND_TEXTS, SCOPE_TEXTS, AppPassword, Kind, Scope
from appliance.clock import utc_now
from appliance.errors import InvalidInput, NotAllowed
from appliance.language import mark, translate
from appliance.ledger import events
from appliance.policy.roles import Action, may
from appliance.web.deps import TheBox, TheVisitor, Visitor, language_of, proven
from appliance.web.pages.arrivals import origin_of
from appliance.web.render import Page, render
from appliance.web.token_gate import DAV

router = APIRouter(prefix="/account/tokens", include_in_schema=False)

Text = Annotated[str, Form()]
#: Days, and what they are called.
TERMS: Final[dict[int, str]] = {
    30: mark("one month"),
    90: mark("three months"),
    365: mark("one year"),
    730: mark("two years"),
}
#: What a role must be able to do for a password of this kind to open anything at all.
_NEEDED: Final[dict[Kind, Action | None]] = {
    Kind.DAV: Action.DISK_USE,
    Kind.API: None,
    Kind.METRICS: Action.STATUS_SEE,
}


@dataclass(frozen=True, slots=True)
class TokensPage(Page):
    """What opens something in one's name, and a form for one more."""

    template: ClassVar[str] = "account/tokens.html"
    passwords: list[AppPassword]  # newest first
    kinds: list[Kind]
    url: str  # of WebDAV
    kind: Kind
    label: str = ""
    days: int = app_passwords.USUAL_DAYS
    chosen: frozenset[Scope] = frozenset()
    done: str | None = None
    problems: tuple[tuple[str, str], ...] = ()
    kind_texts: dict[Kind, str] = field(default_factory=lambda: KIND_TEXTS)
    scope_texts: dict[Scope, str] = field(default_factory=lambda: SCOPE_TEXTS)
    terms: dict[int, str] = field(default_factory=lambda: TERMS)


@dataclass(frozen=True, slots=True)
class TokenPage(Page):
    """A new secret, shown once."""

    template: ClassVar[str] = "account/token.html"
    password: AppPassword
    secret: str
    url: str
    kind_texts: dict[Kind, str] = field(default_factory=lambda: KIND_TEXTS)


@router.get("", name="tokens")
async def show_tokens(
    request: Request, box: TheBox, visitor: TheVisitor, after: str = ""
) -> Response:
    """Show the passwords that open something."""
    done = mark("The password was revoked: it opens nothing any more.")
    with box.database.read() as connection:
        found = app_passwords.living(connection, visitor.person.id, now=utc_now())
    kinds = _kinds(visitor)
    page = TokensPage(found, kinds, dav_url(request), kinds[0], done=done if after else None)
    return render(request, page)


@router.post("", name="token-make", dependencies=[proven()])
async def make_token(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    label: Text = "",
    kind: Text = "",
    days: Text = "",
    scope: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """Make one and show its secret, this once; no address leads to it again.

    Raises:
        NotAllowed: this role has no use for that kind.
        InvalidInput: there is no such kind.
    """
    known = frozenset(Scope(each) for each in scope or () if each in set(Scope))
    term = int(days) if days.isascii() and days.isdecimal() and len(days) < 6 else 0
    if kind not in set(Kind):
        raise InvalidInput("kind", mark("One of the kinds of the list, please."))
    wanted = Kind(kind)
    try:
        secret, made = await box.write(
            lambda c: make_one(c, visitor, kind=wanted, label=label, scope=known, days=term)
        )
    except InvalidInput as error:
        problem = (error.name, translate(error.expected, language_of(request)))
        with box.database.read() as connection:
            found = app_passwords.living(connection, visitor.person.id, now=utc_now())
        page = TokensPage(
            found,
            _kinds(visitor),
            dav_url(request),
            wanted,
            label=label,
            days=term if term in TERMS else app_passwords.USUAL_DAYS,
            chosen=known,
            problems=(problem,),
        )
        return render(request, page, 422)
    return render(request, TokenPage(made, secret, dav_url(request)))


@router.post("/{password_id}/revoke", name="token-revoke")
async def revoke_token(box: TheBox, visitor: TheVisitor, password_id: int) -> Response:
    """Revoke one: the next request with it is refused.

    Raises:
        NotFound: it is not one's own, or was revoked already.
    """
    await box.write(lambda c: revoke_one(c, visitor, password_id))
    return RedirectResponse("/account/tokens?after=revoked", 303)


def make_one(
    connection: Connection,
    visitor: Visitor,
    *,
    kind: Kind,
    label: str,
    scope: frozenset[Scope],
    days: int,
) -> tuple[str, AppPassword]:
    """Make a password of a program inside the caller's write; return its secret, this once, and the row.

    Raises:
        NotAllowed: this role has no use for that kind.
        InvalidInput.
    """
    if kind not in _kinds(visitor):
        raise NotAllowed(f"app-password.{kind.value}")
    made = app_passwords.make(
        connection,
        visitor.person.id,
        kind=kind,
        label=label,
        scope=scope if kind is Kind.API else frozenset(),
        days=days,
        now=utc_now(),
    )
    _record(connection, "app-password.made", visitor, made[1])
    return made


def revoke_one(connection: Connection, visitor: Visitor, password_id: int) -> None:
    """Revoke one of one's own, inside the caller's write.

    Raises:
        NotFound: it is not one's own, or was revoked already.
    """
    gone = app_passwords.revoke(connection, visitor.person.id, password_id, now=utc_now())
    _record(connection, "app-password.revoked", visitor, gone)


def _kinds(visitor: Visitor) -> list[Kind]:
    role = visitor.person.role
    return [kind for kind, action in _NEEDED.items() if action is None or may(role, action)]


def dav_url(request: Request) -> str:
    """Return the address of WebDAV."""
    return f"{origin_of(request)}{DAV}/"


def _record(connection: Connection, event: str, visitor: Visitor, password: AppPassword) -> None:
    events.record(
        connection,
        at=utc_now(),
        event=event,
        subject=f"person:{visitor.person.id}",
        person_id=visitor.person.id,
        password=password.id,
        kind=password.kind.value,
        scope=" ".join(sorted(password.scope)) or None,
        ends=password.ends_at.isoformat() if password.ends_at else None,
    )
