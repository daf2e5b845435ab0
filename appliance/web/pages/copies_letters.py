"""The two papers for a host, ready to print and sign: always in French, as the law they quote.

What they say is ``policy.letters``', how they look ``templates/letters``: the command line prints the same.
"""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import Response

from appliance.clock import utc_now
from appliance.db import practice
from appliance.db.targets import TargetRow
from appliance.jobs import copy_readings
from appliance.jobs.copy_readings import place_of
from appliance.ledger import proofs
from appliance.model import Outcome
from appliance.policy import letters
from appliance.policy.drills import PROOF
from appliance.policy.letters import DesignationLetter, ReversibilitySheet
from appliance.policy.place import where
from appliance.policy.roles import Action
from appliance.policy.wording import size_words
from appliance.web.deps import Box, TheBox, needs
from appliance.web.pages.copies_view import by_name, dossier_of
from appliance.web.render import Page, render
from appliance.web.static_files import StaticFiles

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class DesignationPage(Page):
    """Who may reach the data at the host (EXI 11)."""

    template: ClassVar[str] = "letters/designation.html"
    letter: DesignationLetter
    stylesheet: str | None  # None: ``styles`` are in the paper itself
    styles: str = ""


@dataclass(frozen=True, slots=True)
class ReversibilityPage(Page):
    """How everything comes back, and is destroyed there."""

    template: ClassVar[str] = "letters/reversibility.html"
    sheet: ReversibilitySheet
    stylesheet: str | None
    styles: str = ""


@router.get(
    "/copies/{name}/host/letters/designation",
    name="copy-letter-designation",
    dependencies=[needs(Action.COPIES_SEE)],
)
async def show_designation(request: Request, box: TheBox, name: str) -> Response:
    """Show the letter that names the health professional."""
    letter = await box.read_aside(lambda c: designation_of(c, box, by_name(c, name)))
    return render(request, DesignationPage(letter, _stylesheet()))


@router.get(
    "/copies/{name}/host/letters/reversibility",
    name="copy-letter-reversibility",
    dependencies=[needs(Action.COPIES_SEE)],
)
async def show_reversibility(request: Request, box: TheBox, name: str) -> Response:
    """Show the sheet about restitution and destruction."""
    sheet = await box.read_aside(lambda c: reversibility_of(c, box, by_name(c, name)))
    return render(request, ReversibilityPage(sheet, _stylesheet()))


def designation_of(connection: Connection, box: Box, row: TargetRow) -> DesignationLetter:
    """Return what the letter that names the health professional says."""
    return letters.designation(
        dossier_of(row),
        practice=practice.name(connection),
        postal=practice.address(connection),
        today=utc_now().astimezone(box.zone).date(),
    )


def reversibility_of(connection: Connection, box: Box, row: TargetRow) -> ReversibilitySheet:
    """Return what the sheet about restitution and destruction says."""
    now = utc_now()
    status = copy_readings.copy_status(connection, box.settings, row, now)
    drill = proofs.latest_of_target(connection, row.id, PROOF, Outcome.PROVEN)
    place = place_of(row)
    return letters.reversibility(
        dossier_of(row),
        practice=practice.name(connection),
        target=row.label,
        kind=row.kind,
        where="" if place is None else where(place),
        generations=status.generations,
        newest_on=None
        if status.newest_at is None
        else status.newest_at.astimezone(box.zone).date(),
        objects=status.objects,
        size=size_words(status.published_bytes, "fr"),
        last_drill_on=None if drill is None else drill.at.astimezone(box.zone).date(),
        today=now.astimezone(box.zone).date(),
    )


@cache
def _stylesheet() -> str:
    return StaticFiles().address("letter.css")
