"""The certificate of the web interface: which one is shown, until when, and one that every device knows, by ACME."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.errors import InvalidInput
from appliance.jobs import certificates
from appliance.jobs.certificates import Reading
from appliance.language import explain, explain_stored, mark
from appliance.model import Job
from appliance.policy import certificate as policy
from appliance.policy.certificate import Way, Wish
from appliance.policy.roles import Action
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of, needs, proven
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

_MAY = [needs(Action.NETWORK_CHANGE)]
_CHANGES = [needs(Action.NETWORK_CHANGE), proven()]


@dataclass(frozen=True, slots=True)
class CertificatePage(Page):
    """What is shown, what waits, what went wrong."""

    template: ClassVar[str] = "certificate.html"
    known: Reading
    brought_until: datetime | None  # of a certificate the practice put there itself
    renew_at: datetime | None
    is_busy: bool
    why: str  # why the last try failed; empty: it did not
    has_hook: bool
    typed: dict[str, str]  # what was typed into the form and refused
    elsewhere: str  # directory that was asked before; empty: Let's Encrypt's
    problem: str


@router.get("/certificate", name="certificate", dependencies=_MAY)
async def show_certificate(request: Request, box: TheBox) -> Response:
    """Show it."""
    return await _page(request, box)


@router.post("/certificate", name="certificate-ask", dependencies=_CHANGES)
async def ask_certificate(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    names: Annotated[str, Form(max_length=5000)] = "",
    way: Annotated[str, Form()] = "dns",
    email: Annotated[str, Form(max_length=300)] = "",
    agreed: Annotated[str, Form()] = "",
    directory: Annotated[str, Form(max_length=500)] = "",
    account: Annotated[str, Form(max_length=300)] = "",
    account_key: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    """Ask an authority for a certificate: Let's Encrypt, or the one whose directory is given."""
    typed = {
        "names": names,
        "way": way,
        "email": email,
        "directory": directory,
        "account": account,  # its key is typed again
    }
    try:
        await put_wish(
            box,
            visitor,
            names.replace(",", " ").split(),
            Way.HTTP if way == Way.HTTP.value else Way.DNS,
            email=email,
            has_agreed=agreed == "yes",
            directory=directory,
            account=account,
            account_key=account_key,
        )
    except InvalidInput as error:
        return await _page(request, box, typed, explain(error, language_of(request)), 422)
    return RedirectResponse("/certificate", 303)


async def put_wish(
    box: Box,
    visitor: Visitor,
    names: list[str],
    way: Way,
    *,
    email: str,
    has_agreed: bool,
    directory: str,
    account: str,
    account_key: str,
) -> None:
    """Ask an authority for a certificate, as it was typed; an empty directory is Let's Encrypt's.

    Raises:
        InvalidInput: what no authority would sign, an account without its key, terms not agreed to.
    """
    if not has_agreed:
        raise InvalidInput("terms", mark("your word that you agree to the authority's terms."))
    wish = policy.check_wish(
        directory.strip() or "letsencrypt", names, way, email, agreed=True, account=account
    )
    key = policy.check_account_key(account_key) if account_key.strip() else ""
    sealed = seal(Secret(key.encode("ascii")), box.settings.keys) if key else None
    await box.write(
        lambda c: certificates.ask(
            c, wish, person_id=visitor.person.id, actor="web", now=utc_now(), sealed=sealed
        )
    )


@router.post("/certificate/renew", name="certificate-renew", dependencies=_MAY)
async def renew_certificate(
    box: TheBox, visitor: TheVisitor, anyway: Annotated[str, Form()] = ""
) -> Response:
    """Renew it now, or look for the record now."""

    def change(connection: Connection) -> None:
        if certificates.wish(connection) is not None:
            certificates.renew(
                connection, person_id=visitor.person.id, now=utc_now(), anyway=anyway == "yes"
            )

    await box.write(change)
    return RedirectResponse("/certificate", 303)


@router.post("/certificate/give-up", name="certificate-give-up", dependencies=_CHANGES)
async def give_up_certificate(box: TheBox, visitor: TheVisitor) -> Response:
    """Show the box's own again."""
    await box.write(
        lambda c: certificates.give_up(c, person_id=visitor.person.id, actor="web", now=utc_now())
    )
    return RedirectResponse("/certificate", 303)


async def _page(
    request: Request,
    box: Box,
    typed: dict[str, str] | None = None,
    problem: str = "",
    status: int = 200,
) -> Response:
    known = await box.read_aside(certificates.read)
    page = CertificatePage(
        known,
        await aside(certificates.brought_until, box.settings.tls),
        None if known.served is None else policy.renew_at(known.served),
        known.is_busy,
        _why(known.last, language_of(request)) if known.wish is not None else "",
        bool(box.settings.acme_hook),
        typed or {},
        _elsewhere(known.wish),
        problem,
    )
    return render(request, page, status)


def _elsewhere(wish: Wish | None) -> str:
    usual = policy.DIRECTORIES["letsencrypt"]
    return "" if wish is None or wish.directory == usual else wish.directory


def _why(job: Job | None, language: str) -> str:
    if job is None or not job.error_code:
        return ""
    return explain_stored(job.error_code, job.error_facts, "en" if language == "en" else "fr")
