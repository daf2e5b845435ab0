"""The certificate under /api/v1: which one is shown and until when, one by ACME, one the practice brings.

Whoever changes it holds a session and showed just now who they are; a program with a token reads only.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.errors import NotFound
from appliance.jobs import certificates
from appliance.jobs.certificates import Reading
from appliance.language import Language, explain_stored
from appliance.policy.certificate import Way, renew_at
from appliance.policy.roles import Action
from appliance.vault.secret import Secret
from appliance.web import own_certificate
from appliance.web.api.access_rules import LongSecret, Text
from appliance.web.deps import Box, TheBox, TheVisitor, aside, language_of, needs, proven
from appliance.web.pages.certificate import put_wish

router = APIRouter(prefix="/api/v1/certificate", tags=["certificate"])

_MAY = [needs(Action.NETWORK_CHANGE)]
_CHANGES = [needs(Action.NETWORK_CHANGE), proven()]


@dataclass(frozen=True, slots=True)
class RecordBody:
    """A TXT record that a person has to enter."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class CertificateBody:
    """What was asked for by ACME, what is shown, and what the practice brought; no key."""

    names: list[str]  # asked for; empty: nothing was, the box shows its own
    way: str | None  # dns · http
    is_shown: bool
    until: datetime | None
    renew_at: datetime | None  # from then on the box renews it by itself
    issuer: str | None
    records: list[RecordBody]  # to be entered now
    problem: str | None  # why the last try failed
    directory: str | None  # of the authority that was asked
    email: str | None
    account: str | None  # its number there; empty: none
    shown_names: list[str]  # under these the one by ACME is shown
    taken_at: datetime | None  # the last renewal
    records_since: datetime | None
    has_hook: bool  # a program of the administrator's enters the records
    is_busy: bool  # the newest task waits or runs
    job_id: int | None  # that task, and how it stands
    job_state: str | None
    tried_at: datetime | None  # when it ended
    brought_until: datetime | None  # of one the practice brought itself; the box does not renew it


@dataclass(frozen=True, slots=True)
class WishBody:
    """A certificate by ACME to be asked for."""

    names: Annotated[list[Annotated[str, Field(max_length=300)]], Field(max_length=100)]
    has_agreed: bool = False  # to the authority's terms
    way: Way = Way.DNS
    email: Annotated[str, Field(max_length=300)] = ""
    directory: Annotated[str, Field(max_length=500)] = ""  # empty: Let's Encrypt's
    account: Annotated[str, Field(max_length=300)] = ""  # EAB key identifier
    # EAB HMAC key; empty: the one of before. It is sealed at once and comes out of no answer.
    account_key: LongSecret = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RenewalBody:
    """How to go on."""

    anyway: bool = False  # the records are entered: the authority is asked though the box sees none


@dataclass(frozen=True, slots=True)
class PairBody:
    """The practice's own certificate."""

    certificate: Text  # PEM; then those of its issuers
    key: LongSecret = field(repr=False)  # PEM without a password; it comes out of no answer


@router.get("", name="api-certificate", dependencies=_MAY)
async def show(request: Request, box: TheBox) -> CertificateBody:
    """Say which certificate there is."""
    return await _shown(request, box)


@router.post("", name="api-certificate-ask", dependencies=_CHANGES, status_code=202)
async def ask(
    request: Request, box: TheBox, visitor: TheVisitor, wanted: WishBody
) -> CertificateBody:
    """Ask an authority for a certificate; a task does it, and where DNS is the way it says which records to set.

    Raises:
        InvalidInput: what no authority would sign, an account without its key, terms not agreed to. ProofNeeded.
    """
    await put_wish(
        box,
        visitor,
        wanted.names,
        wanted.way,
        email=wanted.email,
        has_agreed=wanted.has_agreed,
        directory=wanted.directory,
        account=wanted.account,
        account_key=wanted.account_key,
    )
    return await _shown(request, box)


@router.post("/renew", name="api-certificate-renew", dependencies=_MAY, status_code=202)
async def renew(
    request: Request, box: TheBox, visitor: TheVisitor, wanted: RenewalBody | None = None
) -> CertificateBody:
    """Renew it now, or look for the record now.

    Raises:
        NotFound: none was asked for.
    """
    is_set = wanted is not None and wanted.anyway

    def change(connection: Connection) -> None:
        if certificates.wish(connection) is None:
            raise NotFound("certificate", "acme")
        certificates.renew(connection, person_id=visitor.person.id, now=utc_now(), anyway=is_set)

    await box.write(change)
    return await _shown(request, box)


@router.post("/give-up", name="api-certificate-give-up", dependencies=_CHANGES)
async def give_up(request: Request, box: TheBox, visitor: TheVisitor) -> CertificateBody:
    """Forget the one by ACME, with the key of the account there.

    Raises:
        NotFound: none was asked for. ProofNeeded.
    """
    who = visitor.person.id

    def change(connection: Connection) -> None:
        if not certificates.give_up(connection, person_id=who, actor="web", now=utc_now()):
            raise NotFound("certificate", "acme")

    await box.write(change)
    return await _shown(request, box)


@router.put("/own", name="api-certificate-bring", dependencies=_CHANGES)
async def bring(
    request: Request, box: TheBox, visitor: TheVisitor, wanted: PairBody
) -> CertificateBody:
    """Show the practice's own certificate, within 10 minutes, under all names but those of one by ACME.

    Raises:
        InvalidInput: no pair, not valid today, or too weak. ProofNeeded.
    """
    now = utc_now()
    chain, key = wanted.certificate.encode(), Secret(wanted.key.encode())
    until = await aside(lambda: own_certificate.check(chain, key, now=now))
    await box.write(
        lambda c: own_certificate.bring(
            c, box.settings, chain, key,
            until=until, person_id=visitor.person.id, actor="web", now=now,
        )
    )  # fmt: skip
    return await _shown(request, box)


@router.delete("/own", name="api-certificate-back", dependencies=_CHANGES)
async def go_back(request: Request, box: TheBox, visitor: TheVisitor) -> CertificateBody:
    """Go back to the box's own authority: none that was brought, none by ACME.

    Raises:
        ProofNeeded.
    """
    await box.write(
        lambda c: own_certificate.go_back(
            c, box.settings, person_id=visitor.person.id, actor="web", now=utc_now()
        )
    )
    return await _shown(request, box)


async def _shown(request: Request, box: Box) -> CertificateBody:
    known = await box.read_aside(certificates.read)
    brought = await aside(certificates.brought_until, box.settings.tls)
    return _body(known, brought, language_of(request), has_hook=bool(box.settings.acme_hook))


def _body(
    known: Reading, brought: datetime | None, language: Language, *, has_hook: bool
) -> CertificateBody:
    wish, served, last = known.wish, known.served, known.last
    job = last if wish is not None else None
    return CertificateBody(
        names=list(wish.names) if wish else [],
        way=wish.way.value if wish else None,
        is_shown=served is not None,
        until=served.ends if served else None,
        renew_at=renew_at(served) if served else None,
        issuer=served.issuer if served else None,
        records=[RecordBody(each.name, each.value) for each in known.records],
        problem=explain_stored(job.error_code, job.error_facts, language)
        if job and job.error_code
        else None,
        directory=wish.directory if wish else None,
        email=wish.email if wish else None,
        account=wish.account if wish else None,
        shown_names=list(served.names) if served else [],
        taken_at=served.taken_at if served else None,
        records_since=known.record_since,
        has_hook=has_hook,
        is_busy=known.is_busy,
        job_id=job.id if job else None,
        job_state=job.state.value if job else None,
        tried_at=job.finished_at if job else None,
        brought_until=brought,
    )
