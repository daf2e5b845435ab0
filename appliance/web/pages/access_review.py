"""The yearly review of rights: every account, confirmed or changed, signed, printed (domain.md SEC-05)."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from appliance.accounts import review
from appliance.accounts.review import AccountLine, Signed
from appliance.clock import utc_now
from appliance.errors import InvalidInput, NotFound
from appliance.language import mark, translate
from appliance.model import Role
from appliance.policy.roles import ROLE_NAMES, Action
from appliance.policy.share_rights import RIGHT_TEXTS, Right
from appliance.web.deps import Box, TheBox, TheVisitor, language_of, needs, proven
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.PEOPLE_CHANGE)])

FACTOR_NAMES: Final = {"totp": mark("code by telephone"), "passkey": mark("passkey")}


@dataclass(frozen=True, slots=True)
class ReviewLine:
    """One account in words."""

    id: int
    name: str
    login: str
    role: str
    since: datetime
    last_sign_in: datetime | None
    factors: list[str]
    rights: list[tuple[str, list[str]]]
    tokens: int
    devices: int
    term: datetime | None
    is_confirmed: bool = False


@dataclass(frozen=True, slots=True)
class ReviewPage(Page):
    """Every living account, to be confirmed or changed."""

    template: ClassVar[str] = "access_review/form.html"
    lines: list[ReviewLine]
    digest: str
    last_at: datetime | None
    last_by: str
    name: str = ""
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SignedPage(Page):
    """The last signed review, to print."""

    template: ClassVar[str] = "access_review/signed.html"
    lines: list[ReviewLine]
    at: datetime
    by: str
    digest: str


@router.get("/access-review", name="access-review")
async def show_review(request: Request, box: TheBox) -> Response:
    """Show what is to be looked through."""
    return render(request, _page(box))


@router.post("/access-review", name="access-review-sign", dependencies=[proven()])
async def sign_review(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Sign it: every account was confirmed."""
    form = await request.form()
    ticked = [str(each) for each in form.getlist("confirmed")]
    confirmed = {int(each) for each in ticked if each.isdecimal()}
    name = str(form.get("name", ""))
    try:
        await box.write(
            lambda c: review.sign(
                c,
                by=visitor.person,
                confirmed=confirmed,
                seen_digest=str(form.get("seen", "")),
                name=name,
                now=utc_now(),
            )
        )
    except InvalidInput as error:
        problems = ((error.name, translate(error.expected, language_of(request))),)
        return render(request, _page(box, confirmed, name, problems), 422)
    return RedirectResponse("/access-review/last", 303)


@router.get("/access-review/last", name="access-review-last")
async def show_signed(request: Request, box: TheBox) -> Response:
    """Show the last signed review, to print.

    Raises:
        NotFound: none was signed.
    """
    with box.database.read() as connection:
        signed = review.last(connection)
    if signed is None:
        raise NotFound("page", request.url.path)
    lines = [_line(each) for each in signed.lines]
    return render(request, SignedPage(lines, signed.at, signed.by, signed.digest))


def _page(
    box: Box,
    confirmed: set[int] | None = None,
    name: str = "",
    problems: tuple[tuple[str, str], ...] = (),
) -> ReviewPage:
    with box.database.read() as connection:
        found = review.lines(connection, now=utc_now())
        last: Signed | None = review.last(connection)
    lines = [_line(each, confirmed or set()) for each in found]
    return ReviewPage(
        lines,
        review.digest(found),
        None if last is None else last.at,
        "" if last is None else last.by,
        name,
        problems,
    )


def _line(one: AccountLine, confirmed: set[int] | frozenset[int] = frozenset()) -> ReviewLine:
    return ReviewLine(
        one.person_id,
        one.name,
        one.login,
        ROLE_NAMES[Role(one.role)],
        datetime.fromisoformat(one.since),
        None if one.last_sign_in is None else datetime.fromisoformat(one.last_sign_in),
        [FACTOR_NAMES.get(each, each) for each in one.factors],
        [(label, [RIGHT_TEXTS[Right(each)] for each in given]) for label, given in one.rights],
        one.tokens,
        one.devices,
        None if one.term is None else datetime.fromisoformat(one.term),
        one.person_id in confirmed,
    )
