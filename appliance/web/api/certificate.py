"""The certificate under /api/v1, for programs that watch when it ends."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request

from appliance.clock import utc_now
from appliance.errors import NotFound
from appliance.jobs import certificates
from appliance.jobs.certificates import Reading
from appliance.language import Language, explain_stored
from appliance.policy.certificate import renew_at
from appliance.policy.roles import Action
from appliance.web.deps import TheBox, TheVisitor, language_of, needs

router = APIRouter(prefix="/api/v1", tags=["certificate"])


@dataclass(frozen=True, slots=True)
class RecordBody:
    """A TXT record that a person has to enter."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class CertificateBody:
    """The certificate by ACME: what was asked for, and what is shown."""

    names: list[str]  # asked for; empty: nothing was, the box shows its own
    way: str | None  # dns · http
    is_shown: bool
    until: datetime | None
    renew_at: datetime | None  # from then on the box renews it by itself
    issuer: str | None
    records: list[RecordBody]  # to be entered now
    problem: str | None  # why the last try failed


@router.get("/certificate", name="api-certificate", dependencies=[needs(Action.NETWORK_CHANGE)])
async def show(request: Request, box: TheBox) -> CertificateBody:
    """Say which certificate by ACME there is."""
    return _body(await box.read_aside(certificates.read), language_of(request))


@router.post(
    "/certificate/renew",
    name="api-certificate-renew",
    dependencies=[needs(Action.NETWORK_CHANGE)],
    status_code=202,
)
async def renew(request: Request, box: TheBox, visitor: TheVisitor) -> CertificateBody:
    """Renew it now.

    Raises:
        NotFound: none was asked for.
    """
    with box.database.read() as connection:
        if certificates.wish(connection) is None:
            raise NotFound("certificate", "acme")
    who = visitor.person.id
    await box.write(lambda c: certificates.renew(c, person_id=who, now=utc_now()))
    return _body(await box.read_aside(certificates.read), language_of(request))


def _body(known: Reading, language: Language) -> CertificateBody:
    wish, served, last = known.wish, known.served, known.last
    failed = wish is not None and last is not None and bool(last.error_code)
    return CertificateBody(
        list(wish.names) if wish else [],
        wish.way.value if wish else None,
        served is not None,
        served.ends if served else None,
        renew_at(served) if served else None,
        served.issuer if served else None,
        [RecordBody(each.name, each.value) for each in known.records],
        explain_stored(last.error_code or "", last.error_facts, language)
        if last and failed
        else None,
    )
