"""What the two papers for a host say, in French as the law is: who may reach the data, and how it comes back.

Facts only; ``web/templates/letters`` prints them, in a page and in a terminal alike. A fact that is not known
is left empty, and the paper has a dotted line there: nothing is invented for a letter that a doctor signs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from appliance.language import translate
from appliance.policy.hosting import (
    CONTRACT_POINTS,
    AccessFromOutside,
    ContractState,
    Dossier,
    Professional,
    contract_points,
)

#: Points of R.1111-11 that say how the data comes back: the exact cut of the last three is ours.
REVERSIBILITY_POINTS: Final = (10, 12, 13, 14)
_MONTHS: Final = (
    "janvier", "février", "mars", "avril", "mai", "juin",
    "juillet", "août", "septembre", "octobre", "novembre", "décembre",
)  # fmt: skip
_STATES: Final = {
    ContractState.MISSING: "absent du contrat",
    ContractState.ASKED: "demandé à l’hébergeur",
    ContractState.PRESENT: "présent au contrat",
}
_ACCESS: Final = {
    AccessFromOutside.NONE: "aucun accès depuis l’extérieur de l’Espace économique européen",
    AccessFromOutside.ADEQUACY: "accès depuis un pays faisant l’objet d’une décision d’adéquation",
    AccessFromOutside.SAFEGUARDS: "accès sous garanties appropriées (RGPD, art. 46)",
}
_KINDS: Final = {
    "sftp": "compte SFTP",
    "s3": "compartiment S3",
    "box": "boîtier Armoire",
    "directory": "disque",
}


@dataclass(frozen=True, slots=True)
class LetterPerson:
    """Somebody the letter names."""

    name: str
    rpps: str  # «10 001 234 567», or empty
    since: str  # «3 février 2026»


@dataclass(frozen=True, slots=True)
class DesignationLetter:
    """The practice tells its host which health professional may reach the data (EXI 11, PGSSI-S 1.2.2.2)."""

    practice: str
    company: str
    siren: str
    contract_reference: str
    contract_signed_on: str
    products: tuple[str, ...]
    contact: str
    professional: LetterPerson | None
    deputy: LetterPerson | None
    written_on: str  # «23 novembre 2026»
    renew_by: str  # a year later
    missing: tuple[str, ...]  # names of the dossier's fields that are empty
    postal: tuple[str, ...] = ()  # lines of the practice's address; none: dotted lines


@dataclass(frozen=True, slots=True)
class ContractLine:
    """One point of the contract."""

    number: int
    text: str
    state: str
    is_present: bool


@dataclass(frozen=True, slots=True)
class ReversibilitySheet:
    """How everything comes back from a host, and is destroyed there (R.1111-11 12° to 14°, EXI 27)."""

    practice: str
    company: str
    siren: str
    incident_contact: str
    contract_reference: str
    contract_signed_on: str
    certificate_number: str
    certification_body: str
    expires_on: str
    target: str  # as the practice calls it
    kind: str  # «compte SFTP»
    where: str
    sites: tuple[str, ...]  # «Metz (FR)»
    access: str
    subcontractors: tuple[str, ...]
    contract: tuple[ContractLine, ...]
    generations: int
    newest_on: str
    objects: int
    size: str  # «1,2 To»
    last_drill_on: str
    written_on: str
    missing: tuple[str, ...]


def designation(
    dossier: Dossier, *, practice: str, today: date, postal: str = ""
) -> DesignationLetter:
    """Return what the designation letter says.

    Args:
        dossier: of the host.
        practice: the practice's name, or empty.
        today: in the practice's time zone.
        postal: the practice's address, lines parted by newlines, or empty.
    """
    return DesignationLetter(
        postal=tuple(postal.splitlines()),
        practice=practice,
        company=dossier.company,
        siren=_grouped(dossier.siren),
        contract_reference=dossier.contract_reference,
        contract_signed_on=french_date(dossier.contract_signed_on),
        products=dossier.products,
        contact=dossier.contact,
        professional=_person(dossier.professional),
        deputy=_person(dossier.deputy),
        written_on=french_date(today),
        renew_by=french_date(_a_year_later(today)),
        missing=_missing(
            practice=practice,
            company=dossier.company,
            contract_reference=dossier.contract_reference,
            contract_signed_on=dossier.contract_signed_on,
            professional=dossier.professional,
            deputy=dossier.deputy,
        ),
    )


def reversibility(
    dossier: Dossier,
    *,
    practice: str,
    target: str,
    kind: str,
    where: str,
    generations: int,
    newest_on: date | None,
    objects: int,
    size: str,
    last_drill_on: date | None,
    today: date,
) -> ReversibilitySheet:
    """Return what the reversibility sheet says.

    Args:
        dossier: of the host.
        practice: the practice's name, or empty.
        target: as people read it.
        kind: of the target.
        where: as ``policy.place.where`` says it.
        generations: kept there.
        newest_on: day of the newest one.
        objects: of the newest one.
        size: of the newest one, in words.
        last_drill_on: when the whole box was last made again from there; None: never.
        today: in the practice's time zone.
    """
    return ReversibilitySheet(
        practice=practice,
        company=dossier.company,
        siren=_grouped(dossier.siren),
        incident_contact=dossier.incident_contact,
        contract_reference=dossier.contract_reference,
        contract_signed_on=french_date(dossier.contract_signed_on),
        certificate_number=dossier.certificate_number,
        certification_body=dossier.certification_body,
        expires_on=french_date(dossier.expires_on),
        target=target,
        kind=_KINDS.get(kind, kind),
        where=where,
        sites=tuple(f"{site.city} ({site.country})" for site in dossier.sites),
        access="" if dossier.access_from_outside is None else _ACCESS[dossier.access_from_outside],
        subcontractors=tuple(
            f"{each.name}{f' — {each.role}' if each.role else ''}"
            for each in dossier.subcontractors
        ),
        contract=_lines(dossier.contract, REVERSIBILITY_POINTS),
        generations=generations,
        newest_on=french_date(newest_on),
        objects=objects,
        size=size,
        last_drill_on=french_date(last_drill_on),
        written_on=french_date(today),
        missing=_missing(
            practice=practice,
            company=dossier.company,
            incident_contact=dossier.incident_contact,
            contract_reference=dossier.contract_reference,
            certificate_number=dossier.certificate_number,
            sites=dossier.sites,
        ),
    )


def checklist(contract: Mapping[int, ContractState]) -> tuple[ContractLine, ...]:
    """Return the fourteen points of the contract with their state, in French."""
    return _lines(contract, range(1, CONTRACT_POINTS + 1))


def french_date(day: date | None) -> str:
    """Return «1er mars 2026», or nothing for no day."""
    if day is None:
        return ""
    return f"{'1er' if day.day == 1 else day.day} {_MONTHS[day.month - 1]} {day.year}"


def _lines(
    contract: Mapping[int, ContractState], points: Sequence[int]
) -> tuple[ContractLine, ...]:
    texts = contract_points()
    return tuple(
        ContractLine(
            number=point,
            text=translate(texts[point - 1], "fr"),
            state=_STATES[contract.get(point, ContractState.MISSING)],
            is_present=contract.get(point) is ContractState.PRESENT,
        )
        for point in points
    )


def _person(one: Professional | None) -> LetterPerson | None:
    if one is None:
        return None
    return LetterPerson(one.name, _rpps(one.rpps), french_date(one.designated_on))


def _rpps(digits: str) -> str:
    """Return an RPPS number (11 digits) as people read it, «10 001 234 567»; another text as it is."""
    if not (digits.isdigit() and len(digits) == 11):
        return digits
    return f"{digits[:2]} {digits[2:5]} {digits[5:8]} {digits[8:]}"


def _grouped(siren: str) -> str:
    return f"{siren[:3]} {siren[3:6]} {siren[6:]}" if len(siren) == 9 else siren


def _a_year_later(day: date) -> date:
    try:
        return day.replace(year=day.year + 1)
    except ValueError:  # 29 February
        return date(day.year + 1, 2, 28)


def _missing(**known: object) -> tuple[str, ...]:
    return tuple(name for name, value in known.items() if not value)
