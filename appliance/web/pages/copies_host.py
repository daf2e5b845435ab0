"""The dossier of a certified host: what the law asks the practice to know about who keeps its copies.

An owner doctor fills it in, over weeks if need be: every part can be kept unfinished. What it says about
sending is ``policy.hosting``'s; this page only asks and shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, ClassVar, Final

from fastapi import APIRouter, Form, Request, UploadFile
from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.db.targets import TargetRow
from appliance.errors import InvalidInput
from appliance.jobs import target_setup
from appliance.jobs.copy_readings import nature_of
from appliance.language import mark, translate
from appliance.policy import dossier as dossiers
from appliance.policy.hosting import (
    CONTRACT_POINTS,
    AccessFromOutside,
    CertificateState,
    ContractState,
    Dossier,
    Nature,
    Remark,
    Verdict,
    contract_points,
    judge,
)
from appliance.policy.roles import Action
from appliance.web.deps import Box, TheBox, TheVisitor, aside, language_of, needs
from appliance.web.pages import copies_papers, tones
from appliance.web.pages.copies_names import STATE_NAMES
from appliance.web.pages.copies_view import by_name, dossier_of
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]

#: Empty rows offered below those that are filled in.
SPARE_ROWS: Final = 2
#: A dossier's field → what people call it.
FIELD_NAMES: Final[dict[str, str]] = {
    "company": mark("Company"),
    "certificate_number": mark("Certificate number"),
    "certification_body": mark("Certification body"),
    "expires_on": mark("Dates of the certificate"),
    "activities": mark("Activities covered"),
    "sites": mark("Places of storage"),
}
ACTIVITY_NAMES: Final = (
    mark("1. Physical sites"),
    mark("2. Hardware infrastructure"),
    mark("3. Virtual infrastructure"),
    mark("4. Platform for applications"),
    mark("5. Administration and operation"),
    mark("6. Outsourced backup: needed for a copy"),
)
ACCESS_NAMES: Final[dict[AccessFromOutside, str]] = {
    AccessFromOutside.NONE: mark("No access from outside the EEA"),
    AccessFromOutside.ADEQUACY: mark("From countries with an adequacy decision"),
    AccessFromOutside.SAFEGUARDS: mark("With safeguards of GDPR article 46"),
}
POINT_STATES: Final[dict[ContractState, str]] = {
    ContractState.MISSING: mark("not found"),
    ContractState.ASKED: mark("asked the host"),
    ContractState.PRESENT: mark("in the contract"),
}
DOCUMENT_NAMES: Final[dict[str, str]] = {
    "certificate": mark("Certificate (EXI 12)"),
    "contract": mark("Signed contract"),
    "audit-summary": mark("Summary of an audit (EXI 15)"),
    "subcontractor-certificate": mark("Certificate of a subcontractor"),
    "transfers-page": mark("Page about transfers (EXI 31)"),
    "designation-letter": mark("Designation letter, signed"),
    "destruction-certificate": mark("Certificate of destruction"),
}
#: Texts and dates that stand alone in the form, by the dossier's own names.
_SINGLE: Final = (
    "company", "siren", "incident_contact", "certificate_number", "certification_body", "version",
    "issued_on", "expires_on", "suspended_on", "list_checked_on", "audited_on", "access_from_outside",
    "residual_risk", "transfers_page", "transfers_read_on", "contract_reference", "contract_signed_on",
    "contact",
)  # fmt: skip
_LINES: Final = ("foreign_laws", "products")
_PEOPLE: Final = ("professional", "deputy")


@dataclass(frozen=True, slots=True)
class Point:
    """One of the fourteen points of R.1111-11."""

    number: int
    text: str
    state: str


@dataclass(frozen=True, slots=True)
class HostPage(Page):
    """Everything copies/host.html may use."""

    template: ClassVar[str] = "copies/host.html"
    target: TargetRow
    is_host: bool  # declared as a certified host: the dossier counts
    verdict: Verdict
    tone: str
    state_name: str
    stops: list[Remark]
    todo: list[Remark]
    is_leaving: bool  # the certificate ended, was suspended, or ends soon: how to change host
    values: dict[str, str]  # form field → text
    activities: frozenset[int]
    activity_names: tuple[str, ...]
    site_rows: int
    subcontractor_rows: int
    accesses: tuple[tuple[str, str], ...]
    points: list[Point]
    found_points: int
    point_states: tuple[tuple[str, str], ...]
    papers: list[copies_papers.Paper]
    paper_kinds: tuple[tuple[str, str], ...]
    done: str | None
    problems: tuple[tuple[str, str], ...] = ()


DONE: Final = {
    "kept": mark("The dossier was kept. What it changes is said below."),
    "paper": mark("The document was kept with its hash."),
}


@router.get("/copies/{name}/host", name="copy-host", dependencies=[needs(Action.COPIES_SEE)])
async def show_host(request: Request, box: TheBox, name: str, done: str = "") -> Response:
    """Show the dossier: a form for an owner doctor, to be read for others."""
    page = await box.read_aside(
        lambda connection: _page(box, by_name(connection, name), DONE.get(done))
    )
    return render(request, page)


@router.post(
    "/copies/{name}/host", name="copy-host-change", dependencies=[needs(Action.COPIES_DECLARE)]
)
async def change_host(request: Request, box: TheBox, visitor: TheVisitor, name: str) -> Response:
    """Keep what was filled in, or show the form again with what cannot be meant."""
    form = await request.form()
    language = language_of(request)
    changes, rows = changes_of(form)
    now = utc_now()

    def change(connection: Connection) -> None:
        row = by_name(connection, name)
        target_setup.set_dossier(connection, row.id, changes, person=visitor.person.id, now=now)

    try:
        await box.write(change)
    except InvalidInput as error:
        field = field_of(error.name, rows)
        problem = (field, translate(error.expected, language))
        with box.database.read() as connection:
            row = by_name(connection, name)
        typed = {key: str(value) for key, value in form.items() if isinstance(value, str)}
        return render(request, _page(box, row, None, typed=typed, problems=(problem,)), 422)
    return RedirectResponse(f"/copies/{name}/host?done=kept", 303)


@router.post(
    "/copies/{name}/host/papers",
    name="copy-paper-add",
    dependencies=[needs(Action.COPIES_DECLARE)],
    max_body_size=copies_papers.LARGEST_REQUEST,
)
async def add_paper(
    box: TheBox, visitor: TheVisitor, name: str, file: UploadFile, kind: Text = ""
) -> Response:
    """Keep a document of the host's with its hash.

    Raises:
        InvalidInput: the kind is unknown, or the file is empty or no PDF or picture.
    """
    if kind not in DOCUMENT_NAMES:
        raise InvalidInput("kind", mark("Choose what this document is."))
    content = await file.read()
    digest = await aside(copies_papers.keep, box.settings, content)
    now = utc_now()
    await box.write(
        lambda c: copies_papers.enter(
            c, by_name(c, name), kind, digest, person_id=visitor.person.id, now=now
        )
    )
    return RedirectResponse(f"/copies/{name}/host?done=paper#papers", 303)


@router.get(
    "/copies/{name}/host/papers/{digest}",
    name="copy-paper",
    dependencies=[needs(Action.COPIES_SEE)],
)
async def open_paper(box: TheBox, name: str, digest: str) -> Response:
    """Return a document that was kept, as a download.

    Raises:
        NotFound: it is not of this host, or its file is not on the box.
    """
    with box.database.read() as connection:
        row = by_name(connection, name)
    return await aside(copies_papers.of_host, box.settings, row, digest)


# --- from the dossier to the form and back -----------------------------------------------------


def changes_of(form: FormData) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Return the form as the JSON ``policy.dossier.parse`` reads, and which rows of the form it came from.

    A row that is empty everywhere is left out; one that is not is kept, so that what is missing is said.
    """
    text = {name: str(value).strip() for name, value in form.items() if isinstance(value, str)}
    changes: dict[str, Any] = {name: text.get(name, "") for name in _SINGLE}
    for name in _LINES:
        changes[name] = [line.strip() for line in text.get(name, "").splitlines() if line.strip()]
    changes["activities"] = [
        int(str(each)) for each in form.getlist("activities") if str(each).isdecimal()
    ]
    grace = text.get("grace_days", "")
    changes["grace_days"] = int(grace) if grace.isdecimal() and len(grace) <= 4 else grace or 0
    rows: dict[str, list[int]] = {}
    changes["sites"], rows["sites"] = _rows(text, "sites", ("city", "country"))
    people, rows["subcontractors"] = _rows(text, "subcontractors", ("name", "role"))
    for row, each in zip(rows["subcontractors"], people, strict=True):
        each["is_certified"] = f"subcontractors.{row}.is_certified" in text
        each["activities"] = [
            int(part)
            for part in text.get(f"subcontractors.{row}.activities", "").replace(",", " ").split()
            if part.isdecimal() and len(part) == 1
        ]
    changes["subcontractors"] = people
    for who in _PEOPLE:
        values = {part: text.get(f"{who}.{part}", "") for part in ("name", "rpps", "designated_on")}
        changes[who] = values if any(values.values()) else None
    changes["contract"] = {
        str(point): text[f"contract.{point}"]
        for point in range(1, CONTRACT_POINTS + 1)
        if text.get(f"contract.{point}")
    }
    return changes, rows


def _rows(
    text: Mapping[str, str], name: str, parts: tuple[str, ...]
) -> tuple[list[dict[str, Any]], list[int]]:
    found: list[dict[str, Any]] = []
    numbers: list[int] = []
    for row in range(dossiers.MOST_ITEMS):
        values = {part: text.get(f"{name}.{row}.{part}", "") for part in parts}
        if any(values.values()):
            found.append(dict(values))
            numbers.append(row)
    return found, numbers


def field_of(name: str, rows: Mapping[str, list[int]]) -> str:
    """Return the form's field an error is about: «sites.0.country» of the dossier may be its third row."""
    parts = name.split(".")
    numbers = rows.get(parts[0], [])
    if len(parts) > 1 and parts[1].isdecimal() and int(parts[1]) < len(numbers):
        parts[1] = str(numbers[int(parts[1])])
    return ".".join(parts)


def values_of(dossier: Dossier) -> dict[str, str]:
    """Return the dossier as the form shows it."""
    values: dict[str, str] = {}
    for name in _SINGLE:
        value = getattr(dossier, name)
        if isinstance(value, date):
            value = value.isoformat()
        values[name] = "" if value is None else str(value)
    for name in _LINES:
        values[name] = "\n".join(getattr(dossier, name))
    values["grace_days"] = str(dossier.grace_days)
    for row, site in enumerate(dossier.sites):
        values[f"sites.{row}.city"], values[f"sites.{row}.country"] = site.city, site.country
    for row, each in enumerate(dossier.subcontractors):
        values[f"subcontractors.{row}.name"] = each.name
        values[f"subcontractors.{row}.role"] = each.role
        values[f"subcontractors.{row}.activities"] = " ".join(map(str, sorted(each.activities)))
        if each.is_certified:
            values[f"subcontractors.{row}.is_certified"] = "on"
    for who in _PEOPLE:
        person = getattr(dossier, who)
        if person is not None:
            values[f"{who}.name"], values[f"{who}.rpps"] = person.name, person.rpps
            values[f"{who}.designated_on"] = person.designated_on.isoformat()
    for point, state in dossier.contract.items():
        values[f"contract.{point}"] = state.value
    return values


def verdict_of(box: Box, dossier: Dossier) -> Verdict:
    """Return what is missing in a dossier today, whatever the place was declared to be."""
    return judge(Nature.CERTIFIED_HOST, dossier, utc_now().astimezone(box.zone).date())


def _page(
    box: Box,
    row: TargetRow,
    done: str | None,
    *,
    typed: Mapping[str, str] | None = None,
    problems: tuple[tuple[str, str], ...] = (),
) -> HostPage:
    dossier = dossier_of(row)
    nature = nature_of(row)
    verdict = verdict_of(box, dossier)
    remarks = [named(each) for each in verdict.remarks]
    stops = [each for each in remarks if each.blocks]
    todo = [each for each in remarks if not each.blocks]
    values = {**values_of(dossier), **(typed or {})}
    states = [values.get(f"contract.{point}", "") for point in range(1, CONTRACT_POINTS + 1)]
    state = verdict.state or CertificateState.INCOMPLETE
    return HostPage(
        target=row,
        is_host=nature is Nature.CERTIFIED_HOST,
        verdict=verdict,
        tone=tones.BAD if stops else tones.WARN if todo else tones.GOOD,
        state_name=STATE_NAMES[state],
        stops=stops,
        todo=todo,
        is_leaving=state
        in {CertificateState.EXPIRED, CertificateState.SUSPENDED, CertificateState.TO_RENEW},
        values=values,
        activities=dossier.activities,
        activity_names=ACTIVITY_NAMES,
        site_rows=min(dossiers.MOST_ITEMS, len(dossier.sites) + SPARE_ROWS),
        subcontractor_rows=min(dossiers.MOST_ITEMS, len(dossier.subcontractors) + SPARE_ROWS),
        accesses=tuple((each.value, ACCESS_NAMES[each]) for each in AccessFromOutside),
        points=[
            Point(number, text, states[number - 1])
            for number, text in enumerate(contract_points(), start=1)
        ],
        found_points=states.count(ContractState.PRESENT.value),
        point_states=tuple((each.value, POINT_STATES[each]) for each in ContractState),
        papers=copies_papers.of_dossier(box.settings, dossier),
        paper_kinds=tuple(DOCUMENT_NAMES.items()),
        done=done,
        problems=problems,
    )


def named(remark: Remark) -> Remark:
    """Return a remark in which a field is called as the form calls it."""
    name = remark.facts.get("field")
    if not isinstance(name, str):
        return remark
    return Remark(
        remark.code,
        remark.blocks,
        remark.text,
        {**remark.facts, "field": FIELD_NAMES.get(name, name)},
    )
