"""What a person does with a copy: send, verify, try, pace, rename, declare, remove. Each is in the journal."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import AlreadyQueued, InvalidInput
from appliance.jobs import queue, target_setup
from appliance.jobs.kinds import CheckTarget, PushCopy, Spec, TamperCopy, VerifyCopy
from appliance.language import mark, translate
from appliance.model import JobId, PersonId
from appliance.policy import bandwidth
from appliance.policy.hosting import Nature
from appliance.policy.roles import Action
from appliance.web.asking import ask
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs
from appliance.web.pages.copies_show import RuleRow, gather, parse_rules
from appliance.web.pages.copies_view import at_work, by_name
from appliance.web.render import render, words_of

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]

#: What a person asks for → what the journal calls it.
_ASKED: Final = {
    PushCopy.kind: "copy.push-ask",
    VerifyCopy.kind: "copy.verify-ask",
    TamperCopy.kind: "copy.tamper-ask",
    CheckTarget.kind: "target.check-ask",
}


def ask_about(connection: Connection, row: TargetRow, spec: Spec, visitor: Visitor) -> JobId:
    """Queue what a person wants done about a copy, and say so in the journal.

    Raises:
        AlreadyQueued: it waits already; nothing was added.
    """
    return ask(connection, spec, _ASKED[spec.kind], f"target:{row.id}", visitor)


async def _queue(
    box: Box, visitor: Visitor, name: str, make: Callable[[TargetId], Spec]
) -> Response:
    def change(connection: Connection) -> str:
        row = by_name(connection, name)
        try:
            ask_about(connection, row, make(row.id), visitor)
        except AlreadyQueued:
            return "waiting"
        return "queued"

    return RedirectResponse(f"/copies/{name}?done={await box.write(change)}", 303)


@router.post("/copies/{name}/push", name="copy-push", dependencies=[needs(Action.COPIES_CHANGE)])
async def push(box: TheBox, visitor: TheVisitor, name: str) -> Response:
    """Queue a sending now and go back to the copy."""
    return await _queue(box, visitor, name, PushCopy)


@router.post(
    "/copies/{name}/verify", name="copy-verify", dependencies=[needs(Action.COPIES_CHANGE)]
)
async def verify(box: TheBox, visitor: TheVisitor, name: str, full: Text = "") -> Response:
    """Queue the proof of a copy, or the reading back of every object."""
    return await _queue(box, visitor, name, lambda each: VerifyCopy(each, full=bool(full)))


@router.post(
    "/copies/{name}/tamper", name="copy-tamper", dependencies=[needs(Action.COPIES_CHANGE)]
)
async def tamper(box: TheBox, visitor: TheVisitor, name: str) -> Response:
    """Queue the attempts to harm the canary, and for a bucket the questions about it."""
    return await _queue(box, visitor, name, TamperCopy)


@router.post("/copies/{name}/check", name="copy-check", dependencies=[needs(Action.COPIES_CHANGE)])
async def check(box: TheBox, visitor: TheVisitor, name: str) -> Response:
    """Queue a test of the place."""
    return await _queue(box, visitor, name, CheckTarget)


@router.post(
    "/copies/{name}/bandwidth", name="copy-bandwidth", dependencies=[needs(Action.COPIES_CHANGE)]
)
async def change_bandwidth(
    request: Request, box: TheBox, visitor: TheVisitor, name: str, usual: Text = ""
) -> Response:
    """Change when copies may use the line; a copy under way obeys at once."""
    form = await request.form()
    language = language_of(request)
    rules, problems = (list(bandwidth.USUAL), []) if usual else parse_rules(form, language)
    now = utc_now()

    def change(connection: Connection) -> None:
        row = by_name(connection, name)
        target_setup.set_bandwidth(connection, row.id, rules, person=visitor.person.id, now=now)

    if not problems:
        try:
            await box.write(change)
        except InvalidInput as error:
            problems.append(("rules", translate(error.expected, language)))
    if problems:
        words = words_of(request)
        page = await box.read_aside(lambda c: gather(c, box, words, name, None))
        rows = [_typed(form, row) for row in page.rules]
        return render(request, replace(page, rules=rows, problems=tuple(problems)), 422)
    return RedirectResponse(f"/copies/{name}?done=bandwidth#bandwidth", 303)


def _typed(form: FormData, row: RuleRow) -> RuleRow:
    number = row.number
    days = {int(str(each)) for each in form.getlist(f"days-{number}") if str(each).isdecimal()}
    return RuleRow(
        number,
        frozenset(days),
        str(form.get(f"start-{number}", "")),
        str(form.get(f"end-{number}", "")),
        str(form.get(f"rate-{number}", "")),
    )


@router.post(
    "/copies/{name}/change", name="copy-change", dependencies=[needs(Action.COPIES_CHANGE)]
)
async def change_copy(
    box: TheBox, visitor: TheVisitor, name: str, label: Text = "", distance_km: Text = ""
) -> Response:
    """Change what people call it, and how far away it is.

    Raises:
        InvalidInput: no name, or no distance in kilometres.
    """
    distance = distance_km.strip()
    if distance and (not distance.isdecimal() or len(distance) > 6):
        raise InvalidInput("distance_km", mark("Kilometres, from 0 on; empty when not known."))
    now = utc_now()

    def change(connection: Connection) -> None:
        row = by_name(connection, name)
        target_setup.change_target(
            connection,
            box.settings,
            row.id,
            label=" ".join(label.split()),
            distance_km=int(distance) if distance else None,
            person=visitor.person.id,
            now=now,
        )

    await box.write(change)
    return RedirectResponse(f"/copies/{name}?done=changed", 303)


@router.post(
    "/copies/{name}/remove", name="copy-remove", dependencies=[needs(Action.COPIES_CHANGE)]
)
async def remove(box: TheBox, visitor: TheVisitor, name: str, typed: Text = "") -> Response:
    """Stop sending there, once its name was typed. What lies there stays.

    Raises:
        InvalidInput: another name was typed.
    """
    now = utc_now()

    await box.write(
        lambda c: remove_copy(c, by_name(c, name), typed, person_id=visitor.person.id, now=now)
    )
    return RedirectResponse("/copies", 303)


def remove_copy(
    connection: Connection, row: TargetRow, typed: str, *, person_id: PersonId, now: datetime
) -> None:
    """Cancel what is done about a copy and stop sending there; what lies there stays.

    Raises:
        InvalidInput: ``typed`` is neither its name nor its label.
    """
    if " ".join(typed.split()).casefold() not in {row.name.casefold(), row.label.casefold()}:
        raise InvalidInput("typed", mark("The name you typed is another one: nothing was removed."))
    for job in at_work(connection).get(int(row.id), []):
        queue.ask_cancel(connection, job.id, now=now)
    target_setup.remove_target(connection, row.id, person=person_id, now=now)


@router.post(
    "/copies/{name}/nature", name="copy-nature", dependencies=[needs(Action.COPIES_DECLARE)]
)
async def declare_nature(
    box: TheBox, visitor: TheVisitor, name: str, nature: Text = "", back: Text = ""
) -> Response:
    """Declare what the place is to the practice: an owner doctor's word, kept in the journal (HDS-01).

    Raises:
        InvalidInput: it is none of the natures.
    """
    try:
        declared = Nature(nature)
    except ValueError as error:
        raise InvalidInput("nature", mark("Choose one of these.")) from error
    now = utc_now()

    def change(connection: Connection) -> None:
        row = by_name(connection, name)
        target_setup.change_target(
            connection, box.settings, row.id, nature=declared, person=visitor.person.id, now=now
        )

    await box.write(change)
    return RedirectResponse(f"/copies/{name}" + ("" if back == "show" else "/set-up"), 303)
