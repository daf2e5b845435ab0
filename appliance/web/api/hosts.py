"""The dossier of a certified host as JSON: what the law asks the practice to know about who keeps its copies.

For programs that hold a session; no token opens it. What it says about sending is ``policy.hosting``'s, whatever
the place was declared to be.
"""

from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import Response

from appliance.clock import utc_now
from appliance.db import targets
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import InvalidInput
from appliance.jobs import target_setup
from appliance.jobs.copy_readings import nature_of
from appliance.language import mark
from appliance.policy.dossier import DOCUMENT_KINDS
from appliance.policy.hosting import ContractState, Dossier, Nature, Site, contract_points
from appliance.policy.roles import Action
from appliance.web.api.copies_add import RemarkBody, remarks_of
from appliance.web.deps import Box, TheBox, TheVisitor, aside, needs
from appliance.web.pages import copies_papers
from appliance.web.pages.copies_host import named, verdict_of
from appliance.web.pages.copies_letters import (
    DesignationPage,
    ReversibilityPage,
    designation_of,
    reversibility_of,
)
from appliance.web.pages.copies_view import dossier_of
from appliance.web.pages.files import disposition
from appliance.web.render import Words, render, words_of

router = APIRouter(prefix="/api/v1/copies", tags=["hosts"])

BYTES: Final = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
HTML: Final = {"text/html": {"schema": {"type": "string"}}}
Text = Annotated[str, Field(max_length=500)]
Digest = Annotated[str, Query(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class PointBody:
    """One of the fourteen points of R.1111-11."""

    number: int
    text: str  # in the reader's language
    state: ContractState | None  # null: nobody looked


@dataclass(frozen=True, slots=True)
class PaperBody:
    """A document of the dossier."""

    kind: str
    sha256: str
    is_here: bool  # its file is on this box, not only its hash


@dataclass(frozen=True, slots=True)
class HostBody:
    """A host's dossier, and what follows from it."""

    target_id: int
    is_host: bool  # declared as a certified host: the dossier decides about sending
    may_send: bool  # as of a certified host
    state: str | None  # of the certificate: incomplete · valid · to-renew · expired · suspended
    days_left: int | None  # of the certificate; negative after its end
    remarks: list[RemarkBody]
    dossier: Dossier
    points: list[PointBody]
    papers: list[PaperBody]


@dataclass(frozen=True, slots=True)
class SubcontractorBody:
    """Who works for the host."""

    name: Text
    role: Text = ""
    is_certified: bool = False
    activities: list[int] | None = None


@dataclass(frozen=True, slots=True)
class ProfessionalBody:
    """A health professional who may reach the data at the host; nothing in it: nobody."""

    name: Text = ""
    rpps: Text = ""
    designated_on: Text = ""  # ISO date


@dataclass(frozen=True, slots=True)
class HostChangeBody:
    """What is to change in a dossier: what is not named stays, «» and empty lists empty a field. Dates are ISO."""

    company: Text | None = None
    siren: Text | None = None  # nine digits
    incident_contact: Text | None = None
    certificate_number: Text | None = None
    certification_body: Text | None = None
    version: Literal["", "v1", "v2"] | None = None
    activities: list[int] | None = None  # 1 to 6
    issued_on: Text | None = None
    expires_on: Text | None = None
    suspended_on: Text | None = None
    list_checked_on: Text | None = None
    audited_on: Text | None = None
    sites: list[Site] | None = None
    access_from_outside: Literal["", "none", "adequacy", "safeguards"] | None = None
    foreign_laws: list[Text] | None = None
    residual_risk: Text | None = None
    transfers_page: Text | None = None
    transfers_read_on: Text | None = None
    subcontractors: list[SubcontractorBody] | None = None
    contract_reference: Text | None = None
    contract_signed_on: Text | None = None
    products: list[Text] | None = None
    contract: dict[str, ContractState] | None = None  # «1» … «14»; points that are not named stay
    contact: Text | None = None
    professional: ProfessionalBody | None = None
    deputy: ProfessionalBody | None = None
    grace_days: int | None = None


@router.get("/{target_id}/host", name="api-copy-host", dependencies=[needs(Action.COPIES_SEE)])
async def show_host(request: Request, box: TheBox, target_id: int) -> HostBody:
    """Return the dossier, what is missing in it, and its documents."""
    words = words_of(request)
    return await box.read_aside(lambda c: _host(box, targets.get(c, TargetId(target_id)), words))


@router.patch(
    "/{target_id}/host", name="api-copy-host-change", dependencies=[needs(Action.COPIES_DECLARE)]
)
async def change_host(
    request: Request, box: TheBox, visitor: TheVisitor, target_id: int, wanted: HostChangeBody
) -> HostBody:
    """Change what is known of a host; every part can be kept unfinished.

    Raises:
        InvalidInput: a field cannot be meant; its name is dotted («sites.0.country»).
    """
    words, now, changes = words_of(request), utc_now(), _changes(wanted)

    def change(connection: Connection) -> HostBody:
        row = target_setup.set_dossier(
            connection, TargetId(target_id), changes, person=visitor.person.id, now=now
        )
        return _host(box, row, words)

    return await box.write(change)


@router.post(
    "/{target_id}/host/papers",
    name="api-copy-paper-add",
    status_code=201,
    dependencies=[needs(Action.COPIES_DECLARE)],
    openapi_extra={"requestBody": {"required": True, "content": BYTES}},
    max_body_size=copies_papers.LARGEST_REQUEST,
)
async def add_paper(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    target_id: int,
    kind: str,
    sha256_: Annotated[Digest | None, Query(alias="sha256")] = None,
) -> PaperBody:
    """Keep a document of the host's with its hash: the body is the document, a PDF or a picture of at most 16 MiB.

    Raises:
        InvalidInput: its kind is unknown, it is no such document, or not the one whose hash was named.
    """
    if kind not in DOCUMENT_KINDS:
        raise InvalidInput("kind", mark("Choose what this document is."))
    content = await request.body()
    if sha256_ is not None and sha256(content).hexdigest() != sha256_:
        raise InvalidInput("sha256", mark("The document that came is another one."))
    with box.database.read() as connection:
        targets.get(connection, TargetId(target_id))  # before anything is written
    digest = await aside(copies_papers.keep, box.settings, content)
    now = utc_now()

    def change(connection: Connection) -> None:
        row = targets.get(connection, TargetId(target_id))
        copies_papers.enter(connection, row, kind, digest, person_id=visitor.person.id, now=now)

    await box.write(change)
    return PaperBody(kind, digest, is_here=True)


@router.get(
    "/{target_id}/host/papers/{digest}",
    name="api-copy-paper",
    dependencies=[needs(Action.COPIES_SEE)],
    response_class=Response,
    responses={200: {"content": BYTES, "description": "The document, as a download."}},
)
async def open_paper(box: TheBox, target_id: int, digest: str) -> Response:
    """Return a document that was kept, as a download.

    Raises:
        NotFound: it is not of this host, or its file is not on the box.
    """
    with box.database.read() as connection:
        row = targets.get(connection, TargetId(target_id))
    return await aside(copies_papers.of_host, box.settings, row, digest)


@router.get(
    "/{target_id}/host/letters/{which}",
    name="api-copy-letter",
    dependencies=[needs(Action.COPIES_SEE)],
    response_class=Response,
    responses={200: {"content": HTML, "description": "One HTML file that needs nothing else."}},
)
async def open_letter(
    request: Request, box: TheBox, target_id: int, which: Literal["designation", "reversibility"]
) -> Response:
    """Return one of the two papers for a host, to be printed and signed: always in French, as the law is."""

    def gather(connection: Connection) -> DesignationPage | ReversibilityPage:
        row = targets.get(connection, TargetId(target_id))
        if which == "designation":
            return DesignationPage(designation_of(connection, box, row), None, _styles())
        return ReversibilityPage(reversibility_of(connection, box, row), None, _styles())

    answer = render(request, await box.read_aside(gather))
    answer.headers["content-disposition"] = disposition(f"{which}.html")
    return answer


@cache
def _styles() -> str:
    return files("appliance.web").joinpath("static", "letter.css").read_text("utf-8")


def _changes(wanted: HostChangeBody) -> dict[str, Any]:
    """Return what is to change as ``policy.dossier.parse`` reads it."""
    changes = {name: value for name, value in asdict(wanted).items() if value is not None}
    for who in ("professional", "deputy"):
        if who in changes and not any(changes[who].values()):
            changes[who] = None
    for each in changes.get("subcontractors", ()):
        each["activities"] = each["activities"] or []
    return changes


def _host(box: Box, row: TargetRow, words: Words) -> HostBody:
    dossier = dossier_of(row)
    verdict = verdict_of(box, dossier)
    return HostBody(
        target_id=row.id,
        is_host=nature_of(row) is Nature.CERTIFIED_HOST,
        may_send=verdict.may_send,
        state=None if verdict.state is None else verdict.state.value,
        days_left=verdict.days_left,
        remarks=remarks_of([named(each) for each in verdict.remarks], words),
        dossier=dossier,
        points=[
            PointBody(number, words.text(text), dossier.contract.get(number))
            for number, text in enumerate(contract_points(), start=1)
        ],
        papers=[
            PaperBody(each.kind, each.sha256, each.is_here)
            for each in copies_papers.of_dossier(box.settings, dossier)
        ],
    )
