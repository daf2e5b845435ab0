"""Emergency access («bris de glace»): taken with a reason, for some minutes, and reviewed (domain.md SEC-15)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from appliance.accounts import emergency, people
from appliance.accounts.emergency import Access
from appliance.clock import utc_now
from appliance.db import shares
from appliance.disk import access
from appliance.errors import InvalidInput, NotFound
from appliance.language import translate
from appliance.policy.emergency import may_review
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs
from appliance.web.pages.locum_report import Line, line
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]


@dataclass(frozen=True, slots=True)
class AccessLine:
    """One access in the list."""

    access: Access
    taker: str
    share: str
    is_running: bool
    reviewer: str


@dataclass(frozen=True, slots=True)
class EmergencyPage(Page):
    """The form, and the accesses one may know of."""

    template: ClassVar[str] = "emergency/list.html"
    shares: list[tuple[int, str]]  # closed to who asks
    minutes: int
    lines: list[AccessLine]
    may_set: bool
    share: int = 0
    reason: str = ""
    beneficiary: str = ""
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AccessPage(Page):
    """One access: why, what was opened, the review."""

    template: ClassVar[str] = "emergency/show.html"
    line: AccessLine
    opened: list[Line]
    may_end: bool
    may_sign: bool
    problems: tuple[tuple[str, str], ...] = ()


@router.get("/emergency", name="emergency", dependencies=[needs(Action.EMERGENCY_TAKE)])
async def show_form(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Show the form, and one's own accesses; to an owner everybody's."""
    return render(request, _list(box, visitor))


@router.post("/emergency", name="emergency-begin", dependencies=[needs(Action.EMERGENCY_TAKE)])
async def begin(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    share: Text = "",
    reason: Text = "",
    beneficiary: Text = "",
) -> Response:
    """Open a share for some minutes, and tell who answers for it at once."""
    number = int(share) if share.isdecimal() else 0
    try:
        taken = await box.write(
            lambda c: emergency.begin(
                c,
                visitor.person,
                share_id=number,
                reason=reason,
                beneficiary=beneficiary,
                now=utc_now(),
            )
        )
    except InvalidInput as error:
        problems = ((error.name, translate(error.expected, language_of(request))),)
        page = _list(box, visitor, number, reason, beneficiary, problems)
        return render(request, page, 422)
    with box.database.read() as connection:
        name = shares.get(connection, shares.ShareId(taken.share_id)).name
    return RedirectResponse(f"/disk/{name}", 303)


@router.post(
    "/emergency/minutes", name="emergency-minutes", dependencies=[needs(Action.EMERGENCY_REVIEW)]
)
async def set_minutes(
    request: Request, box: TheBox, visitor: TheVisitor, minutes: Text = ""
) -> Response:
    """Choose how long an access lasts."""
    chosen = int(minutes) if minutes.isdecimal() else 0
    try:
        await box.write(
            lambda c: emergency.set_minutes(c, chosen, by=visitor.person.id, now=utc_now())
        )
    except InvalidInput as error:
        problems = ((error.name, translate(error.expected, language_of(request))),)
        return render(request, _list(box, visitor, problems=problems), 422)
    return RedirectResponse("/emergency", 303)


@router.get(
    "/emergency/{access_id}", name="emergency-show", dependencies=[needs(Action.EMERGENCY_TAKE)]
)
async def show_access(
    request: Request, box: TheBox, visitor: TheVisitor, access_id: int
) -> Response:
    """Show one access.

    Raises:
        NotFound: there is none, or it is not for who asks.
    """
    return _show(request, box, visitor, access_id)


@router.post(
    "/emergency/{access_id}/end", name="emergency-end", dependencies=[needs(Action.EMERGENCY_TAKE)]
)
async def end(box: TheBox, visitor: TheVisitor, access_id: int) -> Response:
    """End one's own access now; an owner, anybody's.

    Raises:
        NotFound.
    """
    await box.write(lambda c: emergency.stop(c, access_id, by=visitor.person, now=utc_now()))
    return RedirectResponse(f"/emergency/{access_id}", 303)


@router.post(
    "/emergency/{access_id}/review",
    name="emergency-review",
    dependencies=[needs(Action.EMERGENCY_REVIEW)],
)
async def review(
    request: Request, box: TheBox, visitor: TheVisitor, access_id: int, review: Text = ""
) -> Response:
    """Sign that an access was looked at.

    Raises:
        NotFound, NotAllowed: one's own, while another owner is there.
    """
    try:
        await box.write(
            lambda c: emergency.review(c, access_id, review, by=visitor.person, now=utc_now())
        )
    except InvalidInput as error:
        problems = ((error.name, translate(error.expected, language_of(request))),)
        return _show(request, box, visitor, access_id, problems, 422)
    return RedirectResponse(f"/emergency/{access_id}", 303)


def _list(
    box: Box,
    visitor: Visitor,
    share: int = 0,
    reason: str = "",
    beneficiary: str = "",
    problems: tuple[tuple[str, str], ...] = (),
) -> EmergencyPage:
    now = utc_now()
    all_of_them = visitor.may(Action.EMERGENCY_REVIEW)
    with box.database.read() as connection:
        every = shares.all_living(connection)
        held = access.held(connection, visitor.person, now=now)
        open_ = {each.share.id for each in held if each.may(Right.SEE)}
        names = people.names(connection)
        labels = {int(each.id): each.label for each in every}
        lines = [
            AccessLine(
                each,
                names.get(each.person_id, ""),
                labels.get(each.share_id, "–"),
                each.is_running(now),
                names.get(each.reviewed_by, "") if each.reviewed_by else "",
            )
            for each in emergency.every(connection)
            if all_of_them or each.person_id == visitor.person.id
        ]
        minutes = emergency.minutes(connection)
    closed = [(int(each.id), each.label) for each in every if each.id not in open_]
    return EmergencyPage(closed, minutes, lines, all_of_them, share, reason, beneficiary, problems)


def _show(
    request: Request,
    box: Box,
    visitor: Visitor,
    access_id: int,
    problems: tuple[tuple[str, str], ...] = (),
    status: int = 200,
) -> Response:
    now = utc_now()
    with box.database.read() as connection:
        found = emergency.get(connection, access_id)
        if found.person_id != visitor.person.id and not visitor.may(Action.EMERGENCY_REVIEW):
            raise NotFound("emergency access", str(access_id))
        names = people.names(connection)
        labels = {int(each.id): each.label for each in shares.all_living(connection)}
        held = access.held(connection, visitor.person, now=now)
        seen = {int(each.share.id) for each in held if each.may(Right.SEE)}
        opened = [line(each, labels, seen) for each in emergency.opened(connection, found, now=now)]
        owners = emergency.owners(connection)
    shown = AccessLine(
        found,
        names.get(found.person_id, ""),
        labels.get(found.share_id, "–"),
        found.is_running(now),
        names.get(found.reviewed_by, "") if found.reviewed_by else "",
    )
    may_sign = (
        not shown.is_running
        and found.reviewed_at is None
        and may_review(visitor.person.id, found.person_id, owners)
    )
    return render(request, AccessPage(shown, opened, shown.is_running, may_sign, problems), status)
