"""May we send there? The rules of external hosting of health data, as pure functions.

Rows HDS-01 to HDS-15 of the field's rules: CSP L.1111-8, R.1111-8-8 to R.1111-11; arrêté of 26 April
2024 (référentiel v2). Not legal advice, and said so wherever a page shows it. What is not established
with confidence is a question to the practice, never a claim.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from appliance.language import mark

#: European Economic Area: EU27 and Iceland, Liechtenstein, Norway. CH and GB are not in it (EXI 28).
EEA: Final = frozenset(
    [
        "AT",
        "BE",
        "BG",
        "HR",
        "CY",
        "CZ",
        "DK",
        "EE",
        "FI",
        "FR",
        "DE",
        "GR",
        "HU",
        "IE",
        "IT",
        "LV",
        "LT",
        "LU",
        "MT",
        "NL",
        "PL",
        "PT",
        "RO",
        "SK",
        "SI",
        "ES",
        "SE",
        "IS",
        "LI",
        "NO",
    ]
)
#: Activity 6 of R.1111-9: outsourced backup of health data.
BACKUP_ACTIVITY: Final = 6
ACTIVITIES: Final = frozenset(range(1, 7))
#: A certificate lasts three years.
CERTIFICATE_YEARS: Final = 3
NOTICE_DAYS: Final = (180, 90, 30, 7, 0)
RENEW_DAYS: Final = 90
#: The list of certified hosts, the transfers' table and the designation are looked at again so often.
LIST_CHECK_DAYS: Final = 90
YEARLY_DAYS: Final = 365
#: From this day a v1 certificate is an anomaly to question.
V1_ENDS: Final = date(2026, 5, 16)
CONTRACT_POINTS: Final = 14


class Nature(StrEnum):
    """What a target is to the practice; declared by an owner doctor (HDS-01)."""

    SAME_PRACTICE_HERE = "same-practice-here"
    SAME_PRACTICE_ELSEWHERE = "same-practice-elsewhere"
    CERTIFIED_HOST = "certified-host"
    OTHER = "other"  # refused, encrypted or not


class AccessFromOutside(StrEnum):
    """Access to the data from outside the EEA (EXI 29)."""

    NONE = "none"
    ADEQUACY = "adequacy"
    SAFEGUARDS = "safeguards"  # GDPR art. 46


class ContractState(StrEnum):
    """What the practice found for one of the fourteen points of R.1111-11."""

    MISSING = "missing"
    ASKED = "asked"
    PRESENT = "present"


class CertificateState(StrEnum):
    """Where a certificate stands."""

    INCOMPLETE = "incomplete"
    VALID = "valid"
    TO_RENEW = "to-renew"  # fewer than RENEW_DAYS left
    EXPIRED = "expired"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Site:
    """Where data lies."""

    city: str
    country: str  # ISO 3166-1 alpha-2


@dataclass(frozen=True, slots=True)
class Subcontractor:
    """Who works for the host (EXI 12, 14, 22)."""

    name: str
    role: str
    is_certified: bool
    activities: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Professional:
    """The health professional designated to reach the data at the host (EXI 11)."""

    name: str
    rpps: str  # 11 digits
    designated_on: date
    account_disabled: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A paper kept in the dossier."""

    kind: str  # certificate · contract · audit-summary · subcontractor-certificate
    sha256: str


@dataclass(frozen=True, slots=True)
class Dossier:
    """What the practice knows about a certified host (the record of section 2.4)."""

    company: str = ""
    siren: str = ""
    incident_contact: str = ""
    certificate_number: str = ""
    certification_body: str = ""
    version: str = ""  # «v1» or «v2»
    activities: frozenset[int] = frozenset()
    issued_on: date | None = None
    expires_on: date | None = None
    suspended_on: date | None = None
    list_checked_on: date | None = None  # the ministry's list of certified hosts
    audited_on: date | None = None  # last surveillance audit
    sites: tuple[Site, ...] = ()
    access_from_outside: AccessFromOutside | None = None
    foreign_laws: tuple[str, ...] = ()
    residual_risk: str = ""
    transfers_page: str = ""  # URL of the EXI 31 table
    transfers_read_on: date | None = None
    subcontractors: tuple[Subcontractor, ...] = ()
    contract_reference: str = ""
    contract_signed_on: date | None = None
    products: tuple[str, ...] = ()
    contract: dict[int, ContractState] = field(default_factory=dict)  # 1 … 14
    contact: str = ""  # référent contractuel
    professional: Professional | None = None
    deputy: Professional | None = None
    documents: tuple[Document, ...] = ()
    grace_days: int = 0


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing about a dossier."""

    code: str
    blocks: bool  # no new send while it stands
    text: str  # English template, translatable
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """May new objects be sent? Nothing is ever deleted because of a verdict (HDS-03)."""

    may_send: bool
    state: CertificateState | None  # None where no certificate is asked for
    remarks: tuple[Remark, ...]
    #: Days until the certificate ends; negative after. None where none is known or asked for.
    days_left: int | None = None


def judge(nature: Nature | None, dossier: Dossier | None, today: date) -> Verdict:
    """Return whether new objects may be sent to a target.

    Args:
        nature: what an owner doctor declared; None: nothing yet, so nothing is sent.
        dossier: of a certified host.
        today: in the practice's time zone.
    """
    match nature:
        case None:
            return Verdict(False, None, (_remark("nature-missing"),))
        case Nature.OTHER:
            return Verdict(False, None, (_remark("other-refused"),))
        case Nature.SAME_PRACTICE_HERE | Nature.SAME_PRACTICE_ELSEWHERE:
            return Verdict(True, None, ())
        case Nature.CERTIFIED_HOST:
            return _judge_host(dossier or Dossier(), today)


def certificate_state(dossier: Dossier, today: date) -> CertificateState:
    """Return where the certificate stands on ``today``; it is still good on its last day."""
    if dossier.suspended_on is not None and dossier.suspended_on <= today:
        return CertificateState.SUSPENDED
    if (
        dossier.expires_on is None
        or dossier.issued_on is None
        or not dossier.certificate_number.strip()
        or not dossier.certification_body.strip()
        or BACKUP_ACTIVITY not in dossier.activities
        or dossier.issued_on > today
    ):
        return CertificateState.INCOMPLETE
    left = (dossier.expires_on - today).days
    if left < 0:
        return CertificateState.EXPIRED
    return CertificateState.TO_RENEW if left < RENEW_DAYS else CertificateState.VALID


def notices_due(expires_on: date, today: date, already: Sequence[int]) -> list[int]:
    """Return the notices (days before the end) that are due and were not given; the latest missed one only.

    A box that was off for a month says once «30 days», not «180», «90» and «30» at once.
    """
    left = (expires_on - today).days
    reached = [days for days in NOTICE_DAYS if left <= days]
    if not reached or min(reached) in already:
        return []
    return [min(reached)]


def last_day(issued_on: date) -> date:
    """Return the last day of a certificate issued on that day: three years later, less a day.

    29 February has no anniversary in an ordinary year: the certificate then ends on 28 February.
    """
    year = issued_on.year + CERTIFICATE_YEARS
    try:
        anniversary = issued_on.replace(year=year)
    except ValueError:
        return date(year, 2, 28)
    return anniversary - timedelta(days=1)


def _judge_host(dossier: Dossier, today: date) -> Verdict:
    state = certificate_state(dossier, today)
    left = None if dossier.expires_on is None else (dossier.expires_on - today).days
    remarks: list[Remark] = []
    match state:
        case CertificateState.SUSPENDED:
            remarks.append(_remark("certificate-suspended"))
        case CertificateState.EXPIRED:
            in_grace = left is not None and -left <= dossier.grace_days
            remarks.append(
                _remark(
                    "certificate-expired-grace" if in_grace else "certificate-expired",
                    days=-(left or 0),
                )
            )
        case CertificateState.TO_RENEW:
            remarks.append(_remark("certificate-to-renew", days=left))
        case CertificateState.INCOMPLETE | CertificateState.VALID:
            pass
    remarks += _certificate_remarks(dossier, today)
    remarks += _place_remarks(dossier, today)
    remarks += _contract_remarks(dossier)
    remarks += _people_remarks(dossier, today)
    return Verdict(not any(each.blocks for each in remarks), state, tuple(remarks), left)


def _certificate_remarks(dossier: Dossier, today: date) -> list[Remark]:
    found: list[Remark] = []
    found += [
        _remark("field-missing", field=name)
        for name in ("company", "certificate_number", "certification_body")
        if not getattr(dossier, name).strip()
    ]
    if dossier.issued_on is None or dossier.expires_on is None:
        found.append(_remark("field-missing", field="expires_on"))
    elif dossier.issued_on > today:
        found.append(_remark("certificate-not-yet-valid"))
    elif dossier.expires_on > last_day(dossier.issued_on) + timedelta(days=1):
        found.append(_remark("certificate-too-long"))
    if dossier.activities and BACKUP_ACTIVITY not in dossier.activities:
        found.append(_remark("activity-6-missing"))
    elif not dossier.activities:
        found.append(_remark("field-missing", field="activities"))
    if dossier.version != "v2":
        found.append(
            _remark(
                "version-1" if dossier.version == "v1" and today > V1_ENDS else "version-unknown"
            )
        )
    kinds = {each.kind for each in dossier.documents}
    if "certificate" not in kinds:
        found.append(_remark("certificate-copy-missing"))
    if _older(dossier.list_checked_on, today, LIST_CHECK_DAYS):
        found.append(_remark("list-check-due"))
    if _older(dossier.audited_on, today, YEARLY_DAYS):
        found.append(_remark("audit-unknown"))
    return found


def _place_remarks(dossier: Dossier, today: date) -> list[Remark]:
    found: list[Remark] = []
    if not dossier.sites:
        found.append(_remark("field-missing", field="sites"))
    found += [
        _remark("outside-eea", country=site.country.upper(), city=site.city)
        for site in dossier.sites
        if site.country.upper() not in EEA
    ]
    if dossier.access_from_outside is None:
        found.append(_remark("access-unknown"))
    elif (
        dossier.access_from_outside is not AccessFromOutside.NONE
        and not dossier.residual_risk.strip()
    ):
        found.append(_remark("residual-risk-missing"))
    if not dossier.transfers_page.strip():
        found.append(_remark("transfers-page-missing"))
    elif _older(dossier.transfers_read_on, today, YEARLY_DAYS):
        found.append(_remark("transfers-reading-due"))
    found += [
        _remark("subcontractor-uncertified", name=each.name)
        for each in dossier.subcontractors
        if each.activities and not each.is_certified
    ]
    return found


def _contract_remarks(dossier: Dossier) -> list[Remark]:
    found: list[Remark] = []
    if not dossier.contract_reference.strip() or dossier.contract_signed_on is None:
        found.append(_remark("contract-missing"))
    if not dossier.products:
        found.append(_remark("products-missing"))
    absent = [
        point
        for point in range(1, CONTRACT_POINTS + 1)
        if dossier.contract.get(point) is not ContractState.PRESENT
    ]
    if absent:
        found.append(
            _remark("contract-points", points=", ".join(map(str, absent)), count=len(absent))
        )
    if not dossier.contact.strip():
        found.append(_remark("contact-missing"))
    return found


def _people_remarks(dossier: Dossier, today: date) -> list[Remark]:
    found: list[Remark] = []
    if dossier.professional is None:
        found.append(_remark("professional-missing"))
    else:
        if dossier.professional.account_disabled:
            found.append(_remark("professional-gone", name=dossier.professional.name))
        if not (dossier.professional.rpps.isdigit() and len(dossier.professional.rpps) == 11):
            found.append(_remark("rpps-malformed", name=dossier.professional.name))
        if _older(dossier.professional.designated_on, today, YEARLY_DAYS):
            found.append(_remark("designation-renewal-due"))
    if dossier.deputy is None:
        found.append(_remark("deputy-missing"))
    return found


def _older(when: date | None, today: date, days: int) -> bool:
    return when is None or (today - when).days > days


def _remark(code: str, **facts: object) -> Remark:
    blocks, text = _REMARKS[code]
    return Remark(f"hosting.{code}", blocks, text, facts)


#: Code → does it stop new sends, and what the practice reads.
_REMARKS: Final[dict[str, tuple[bool, str]]] = {
    "nature-missing": (
        True,
        mark("An owner doctor must first declare what this place is to the practice."),
    ),
    "other-refused": (
        True,
        mark(
            "Only a certified health-data host, or the practice itself, may keep a copy: this place is neither. "
            "Encryption does not change that. Nothing is sent."
        ),
    ),
    "certificate-suspended": (
        True,
        mark(
            "The host's certificate is suspended. Nothing new is sent, nothing is deleted. Look for another host."
        ),
    ),
    "certificate-expired": (
        True,
        mark(
            "The host's certificate ended %(days)s days ago. Nothing new is sent, nothing is deleted. "
            "Ask the host for the new certificate, or begin to change host (restitution, then destruction)."
        ),
    ),
    "certificate-expired-grace": (
        False,
        mark(
            "The host's certificate ended %(days)s days ago. Copies still leave during the grace you set: ask for the new one."
        ),
    ),
    "certificate-to-renew": (
        False,
        mark("The host's certificate ends in %(days)s days. Ask for the new one."),
    ),
    "certificate-not-yet-valid": (
        True,
        mark("The certificate begins in the future. Check its dates."),
    ),
    "certificate-too-long": (
        False,
        mark("A certificate lasts three years; the dates entered are further apart. Check them."),
    ),
    "certificate-copy-missing": (
        False,
        mark("Keep a copy of the certificate here: the host owes it to you (EXI 12)."),
    ),
    "activity-6-missing": (
        True,
        mark(
            "The certificate does not cover activity 6, outsourced backup. This host may not keep this copy."
        ),
    ),
    "version-1": (
        False,
        mark(
            "The certificate is of the first référentiel, which ended on 16 May 2026: question it."
        ),
    ),
    "version-unknown": (
        False,
        mark("Note which version of the référentiel the certificate is of."),
    ),
    "field-missing": (True, mark("The host's dossier is incomplete: «%(field)s» is missing.")),
    "list-check-due": (
        False,
        mark("Check the host on the official list of certified hosts (every 90 days)."),
    ),
    "audit-unknown": (
        False,
        mark("Ask the host for the date of its last yearly surveillance audit."),
    ),
    "outside-eea": (
        True,
        mark(
            "%(city)s (%(country)s) is outside the European Economic Area: health data may not be stored there."
        ),
    ),
    "access-unknown": (
        False,
        mark(
            "Ask whether the data can be reached from outside the European Economic Area (EXI 29)."
        ),
    ),
    "residual-risk-missing": (
        False,
        mark("The data can be reached from outside: note the remaining risk (EXI 30)."),
    ),
    "transfers-page-missing": (
        False,
        mark("Note the address of the host's page about transfers (EXI 31)."),
    ),
    "transfers-reading-due": (False, mark("Read the host's page about transfers again (yearly).")),
    "subcontractor-uncertified": (
        True,
        mark("The subcontractor %(name)s does a certified activity without a certificate."),
    ),
    "contract-missing": (
        True,
        mark("Enter the reference and the date of the signed contract (R.1111-11)."),
    ),
    "products-missing": (
        False,
        mark("Note which product was bought: it must be inside the certified scope."),
    ),
    "contract-points": (
        False,
        mark("Points of the contract not found yet: %(points)s (of 14, R.1111-11)."),
    ),
    "contact-missing": (False, mark("Name the practice's contact for the contract.")),
    "professional-missing": (
        False,
        mark(
            "Name the health professional who may reach the data at the host (EXI 11), then print the letter."
        ),
    ),
    "professional-gone": (
        False,
        mark(
            "%(name)s no longer has an account here: name another health professional to the host."
        ),
    ),
    "rpps-malformed": (False, mark("The RPPS number of %(name)s must have 11 digits.")),
    "designation-renewal-due": (
        False,
        mark("Renew the designation of the health professional (yearly)."),
    ),
    "deputy-missing": (False, mark("Name a deputy of the health professional.")),
}


def contract_points() -> tuple[str, ...]:
    """Return the fourteen points of R.1111-11, in order, as English texts with French translations."""
    return _POINTS


_POINTS: Final = (
    mark("Scope of the certificate, dates of issue and renewal"),
    mark("Services and results: availability, integrity, confidentiality, auditability"),
    mark("Places of hosting"),
    mark("Rights of persons, portability, notice of breaches, audits"),
    mark("The client's contact for the contract"),
    mark("Quality indicators, levels, frequency, penalties"),
    mark("Subcontractors, equivalent protection"),
    mark("How the data is reached"),
    mark("Technical evolutions"),
    mark("Guarantees in case of failure"),
    mark("Prohibition of other uses"),
    mark("Restitution"),
    mark("Destruction of the copies"),
    mark("Costs, delays and formats of reversibility"),
)
