"""The documents of an invented practice: deterministic from a seed, each file distinct.

Three trees: the practice's server (patients' folders, accounts, plannings), the secretary's
Windows-like profile, and the share of the box. 270 patients make about 4,000 files and 130 MB.
Every document says that it was generated; no name, number or address is a real person's.
"""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from appliance.demo import images, papers, words
from appliance.demo.records import change_database, seed_database
from appliance.demo.words import Patient
from appliance.demo.working_day import DayOfWork, change_a_day

__all__ = [
    "DayOfWork",
    "Filled",
    "change_a_day",
    "change_database",
    "fill_practice",
    "fill_secretary",
    "fill_share",
    "seed_database",
]

REPORT_EVERY: Final = 20  # files
YEARS: Final = (2023, 2024, 2025, 2026)


@dataclass(frozen=True, slots=True)
class Filled:
    """What a tree was filled with."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Planned:
    """A file that will be made."""

    path: str  # relative, parts parted by «/»
    day: date  # its modification time falls on this day
    make: Callable[[random.Random], bytes]


def _silent(_done: int, _total: int) -> None:
    pass


def fill_practice(
    root: Path, *, seed: int, patients: int, on_progress: Callable[[int, int], None] = _silent
) -> Filled:
    """Fill ``root`` with the practice's server: about 15 files and 0.5 MB a patient.

    Args:
        root: made when missing; what it holds under other names stays.
        seed: same seed, same bytes and same modification times.
        patients: 1 or more.
        on_progress: called with files done and files planned, about every 20 files.
    """
    (root / "À classer").mkdir(parents=True, exist_ok=True)  # an empty folder is kept too
    return _fill(
        root, f"practice {seed}", [*_patients(seed, patients), *_office(seed)], on_progress
    )


def fill_secretary(
    root: Path, *, seed: int, on_progress: Callable[[int, int], None] = _silent
) -> Filled:
    """Fill ``root`` with a Windows profile (``Users/…``): documents, and caches that a plan leaves out."""
    return _fill(root, f"secretary {seed}", list(_profile(seed)), on_progress)


def fill_share(
    root: Path, *, seed: int, on_progress: Callable[[int, int], None] = _silent
) -> Filled:
    """Fill ``root`` with the practice's share: scans that wait, templates, protocols, plannings."""
    (root / "Échanges" / "À trier").mkdir(parents=True, exist_ok=True)
    return _fill(root, f"share {seed}", list(_share(seed)), on_progress)


def _fill(
    root: Path, seed: str, planned: list[_Planned], on_progress: Callable[[int, int], None]
) -> Filled:
    total = 0
    made: set[Path] = set()
    for number, each in enumerate(planned, 1):
        rng = random.Random(f"{seed} {each.path}")  # noqa: S311 - invented documents, not secrets
        content = each.make(rng)
        path = root / each.path
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        path.write_bytes(content)
        at = datetime.combine(each.day, time(8, tzinfo=UTC)) + timedelta(
            seconds=rng.randrange(36_000)
        )
        stamp = int(at.timestamp()) * 10**9 + rng.randrange(10**7) * 100  # Windows counts 100 ns
        os.utime(path, ns=(stamp, stamp))
        total += len(content)
        if number % REPORT_EVERY == 0 or number == len(planned):
            on_progress(number, len(planned))
    return Filled(len(planned), total)


# --- patients ------------------------------------------------------------------------------


def _patients(seed: int, count: int) -> Iterator[_Planned]:
    for number in range(count):
        rng = random.Random(f"patient {seed} {number}")  # noqa: S311 - invented, not secret
        yield from _patient(rng, words.invent_patient(rng, number))


def _patient(rng: random.Random, patient: Patient) -> Iterator[_Planned]:
    top, serial = patient.folder, iter(range(1, 1000))

    def reference() -> str:
        return f"D{patient.number:05}-{next(serial):03}"

    for _ in range(rng.randint(2, 6)):
        day, specialist, own = words.day_before(rng), rng.choice(words.SPECIALISTS), reference()
        yield _Planned(
            f"{top}/Courriers/{day.year}/{day} Lettre {specialist} {own}.pdf",
            day,
            partial(
                _letter, patient=patient, day=day, title=f"Lettre au {specialist}", reference=own
            ),
        )
    for _ in range(rng.randint(2, 5)):
        day, own = words.day_before(rng), reference()
        yield _Planned(
            f"{top}/Ordonnances/{day.year}/{day} Ordonnance {own}.pdf",
            day,
            partial(_prescription, patient=patient, day=day, reference=own),
        )
    for _ in range(rng.randint(1, 3)):
        day, own = words.day_before(rng), reference()
        make, suffix = rng.choice(((papers.hl7_results, "hl7"), (papers.hprim_results, "hpr")))
        yield _Planned(
            f"{top}/Biologie/{day} Bilan {own}.{suffix}",
            day,
            partial(make, patient=patient, day=day, reference=own),
        )
        if rng.random() < 0.6:
            yield _Planned(
                f"{top}/Biologie/{day} Bilan {own}.pdf",
                day,
                partial(_report, patient=patient, day=day, reference=own),
            )
    for _ in range(rng.randint(1, 4)):
        day, own = words.day_before(rng), reference()
        in_pdf = rng.random() < 0.35
        yield _Planned(
            f"{top}/Scans/{day} Compte rendu hospitalier {own}.{'pdf' if in_pdf else 'jpg'}",
            day,
            partial(_scan, patient=patient, day=day, reference=own, in_pdf=in_pdf),
        )
    if rng.random() < 0.5:
        day, own = words.day_before(rng), reference()
        yield _Planned(
            f"{top}/Certificats/{day} Certificat d'aptitude {own}.docx",
            day,
            partial(_certificate, patient=patient, day=day, reference=own),
        )
    days = [words.day_before(rng) for _ in range(rng.randint(2, 14))]
    yield _Planned(f"{top}/Notes.txt", max(days), partial(papers.note, patient=patient, days=days))
    yield from _imaging(rng, patient)


def _imaging(rng: random.Random, patient: Patient) -> Iterator[_Planned]:
    day, kind = words.day_before(rng), rng.random()
    folder = f"{patient.folder}/Imagerie"
    if kind < 0.05:
        # One study: its slices share identifiers, so they are drawn from one seed of their own.
        own = rng.getrandbits(64)
        for number in range(8):
            yield _Planned(
                f"{folder}/{day} Scanner thoracique/SERIE0001/IM{number + 1:06}.dcm",
                day,
                partial(_slice, patient=patient, day=day, seed=own, number=number),
            )
    elif kind < 0.15:
        yield _Planned(
            f"{folder}/{day} Radio thorax/IM000001.dcm",
            day,
            partial(images.chest_x_ray, patient=patient, day=day),
        )
    elif kind < 0.27:
        for number in range(2):
            yield _Planned(
                f"{folder}/{day} Échographie abdominale/IM{number + 1:06}.dcm",
                day,
                partial(images.ultrasound, patient=patient, day=day),
            )


def _letter(
    rng: random.Random, *, patient: Patient, day: date, title: str, reference: str
) -> bytes:
    return papers.pdf_letter(
        patient=patient,
        doctor=rng.choice(words.DOCTORS),
        day=day,
        title=title,
        lines=words.letter_lines(rng, patient, day),
        reference=reference,
    )


def _prescription(rng: random.Random, *, patient: Patient, day: date, reference: str) -> bytes:
    return papers.pdf_letter(
        patient=patient,
        doctor=rng.choice(words.DOCTORS),
        day=day,
        title="Ordonnance",
        lines=words.prescription_lines(rng),
        reference=reference,
    )


def _report(rng: random.Random, *, patient: Patient, day: date, reference: str) -> bytes:
    return papers.pdf_letter(
        patient=patient,
        doctor="Laboratoire fictif de Saint-Essai",
        day=day,
        title="Résultats de biologie médicale",
        lines=words.result_lines(words.results(rng)),
        reference=reference,
    )


def _scan(
    rng: random.Random, *, patient: Patient | None, day: date, reference: str, in_pdf: bool
) -> bytes:
    picture = images.scan(rng, patient, day, reference)
    if not in_pdf:
        return picture
    return papers.pdf_scan(picture, title=f"Document numérisé {reference}", reference=reference)


def _certificate(rng: random.Random, *, patient: Patient, day: date, reference: str) -> bytes:
    return papers.docx_letter(
        name=patient.name,
        born=words.french(patient.born),
        doctor=rng.choice(words.DOCTORS),
        day=day,
        lines=["Certificat", rng.choice(words.EXAMINATION), rng.choice(words.CONCLUSIONS)],
        reference=reference,
    )


def _slice(_rng: random.Random, *, patient: Patient, day: date, seed: int, number: int) -> bytes:
    return images.ct_slice(seed, patient, day, number)


# --- the office ----------------------------------------------------------------------------


def _office(seed: int) -> Iterator[_Planned]:
    for year in YEARS:
        for month in range(1, 13):
            day = date(year, month, 27)
            if day > words.LAST_DAY:
                continue
            top = f"Comptabilité/{year}"
            yield _Planned(
                f"{top}/{year}-{month:02} Recettes.xlsx", day, partial(_takings, day=day)
            )
            for number in range(2):
                own = f"F{year}{month:02}{number:02}"
                supplier = ("Matériel médical", "Énergie", "Téléphonie", "Ménage")[
                    (month + number) % 4
                ]
                yield _Planned(
                    f"{top}/Factures/Fournisseurs/{supplier}/{day} Facture {own}.pdf",
                    day,
                    partial(_invoice, day=day, supplier=supplier, reference=own),
                )
    yield from _plannings("Plannings", weeks=46)
    yield from _templates("Modèles")
    for number, title in enumerate(("Registre des traitements", "Charte informatique", "DUERP")):
        yield _Planned(
            f"Administratif/Conformité/RGPD/{title}.docx",
            date(2026, 3, 10 + number),
            partial(
                _text_document, title=title, day=date(2026, 3, 10), reference=f"A{seed}-{number}"
            ),
        )


def _takings(rng: random.Random, *, day: date) -> bytes:
    rows: list[list[str | float]] = [["Date", "Acte", "Montant (€)", "Tiers payant (€)"]]
    for _ in range(rng.randint(150, 260)):
        amount = rng.choice((26.5, 30.0, 31.5, 46.0, 60.0))
        on = f"{rng.randint(1, 27):02}/{day:%m/%Y}"
        rows.append(
            [on, rng.choice(("G", "GS", "VG", "ECG", "COE")), amount, round(amount * 0.7, 2)]
        )
    rows.append([words.GENERATED])
    return papers.xlsx_sheet("Recettes", rows)


def _invoice(rng: random.Random, *, day: date, supplier: str, reference: str) -> bytes:
    prices = [round(rng.uniform(4, 380), 2) for _ in range(rng.randint(2, 9))]
    lines = [f"Article {rng.randint(1000, 9999)} : {price:.2f} €" for price in prices]
    return papers.pdf_letter(
        patient=None,
        doctor=f"Fournisseur fictif ({supplier})",
        day=day,
        title=f"Facture {reference}",
        lines=[*lines, f"Total : {sum(prices):.2f} €"],
        reference=reference,
    )


def _plannings(folder: str, weeks: int) -> Iterator[_Planned]:
    for week in range(1, weeks + 1):
        day = date.fromisocalendar(2026, week, 1)
        path = f"{folder}/2026/Planning semaine {week:02}.xlsx"
        yield _Planned(path, day, partial(_planning, week=week))


def _planning(rng: random.Random, *, week: int) -> bytes:
    rows: list[list[str | float]] = [
        ["", *(f"{d} S{week}" for d in ("lun", "mar", "mer", "jeu", "ven"))]
    ]
    rows += [
        [f"{hour} h", *(rng.choice((*words.DOCTORS, "")) for _ in range(5))]
        for hour in range(8, 19)
    ]
    return papers.xlsx_sheet(f"Semaine {week}", [*rows, [words.GENERATED]])


def _templates(folder: str) -> Iterator[_Planned]:
    titles = (
        "Lettre au spécialiste",
        "Certificat d'aptitude au sport",
        "Arrêt de travail - note",
        "Demande d'imagerie",
        "Consentement éclairé",
        "Fiche nouveau patient",
        "Lettre de sortie à l'hôpital",
        "Déclaration médecin traitant",
    )
    for number, title in enumerate(titles):
        day = date(2025, 9, 1 + number)
        yield _Planned(
            f"{folder}/{title}.docx",
            day,
            partial(_text_document, title=title, day=day, reference=f"M{number:03}"),
        )


def _text_document(rng: random.Random, *, title: str, day: date, reference: str) -> bytes:
    return papers.docx_letter(
        name="……………………",
        born="…/…/……",
        doctor=rng.choice(words.DOCTORS),
        day=day,
        lines=[title, *rng.sample(words.EXAMINATION, 3), *rng.sample(words.CONCLUSIONS, 3)],
        reference=reference,
    )


# --- the secretary's profile ---------------------------------------------------------------


def _profile(seed: int) -> Iterator[_Planned]:
    home = "Users/Secrétariat"
    for number in range(60):
        rng = random.Random(f"mail {seed} {number}")  # noqa: S311 - invented, not secret
        patient = words.invent_patient(rng, number)
        day, own = words.day_before(rng, years=1.0), f"S{number:04}"
        yield _Planned(
            f"{home}/Documents/Courriers à envoyer/{day:%Y-%m}/{patient.name} {own}.docx",
            day,
            partial(_certificate, patient=patient, day=day, reference=own),
        )
        yield _Planned(
            f"{home}/Downloads/Compte rendu ({number + 1}).pdf",
            day,
            partial(_scan, patient=patient, day=day, reference=own, in_pdf=True),
        )
        if number % 3 == 0:
            yield _Planned(
                f"{home}/Desktop/À rappeler {own}.txt",
                day,
                partial(papers.note, patient=patient, days=[day], encoding="cp1252"),
            )
    yield from _plannings(f"{home}/Documents/Plannings", weeks=46)
    yield from _templates(f"{home}/Documents/Modèles Office personnalisés")
    for number in range(12):
        day = words.LAST_DAY - timedelta(days=30 * number)
        yield _Planned(
            f"{home}/Pictures/Affiches salle d'attente/Affiche {number + 1:02}.jpg",
            day,
            partial(_scan, patient=None, day=day, reference=f"AF{number:02}", in_pdf=False),
        )
    # What every Windows profile holds and no backup wants.
    junk = (
        (f"{home}/NTUSER.DAT", 262_144),
        (f"{home}/Pictures/Thumbs.db", 40_960),
        (f"{home}/Desktop/desktop.ini", 282),
        (f"{home}/Documents/~$Planning semaine 46.xlsx", 165),
        *((f"{home}/AppData/Local/Temp/{n:08x}.tmp", 20_000 + n) for n in range(20)),
        *(
            (
                f"{home}/AppData/Local/Google/Chrome/User Data/Default/Cache/Cache_Data/f_{n:06x}",
                30_000 + n,
            )
            for n in range(60)
        ),
    )
    for path, size in junk:
        yield _Planned(path, words.LAST_DAY, partial(random.Random.randbytes, n=size))


# --- the share -----------------------------------------------------------------------------


def _share(seed: int) -> Iterator[_Planned]:
    for number in range(220):
        rng = random.Random(f"scan {seed} {number}")  # noqa: S311 - invented, not secret
        patient = words.invent_patient(rng, number)
        day, in_pdf = words.day_before(rng, years=0.4), number % 3 == 0
        yield _Planned(
            f"Scans/{day:%Y}/{day:%m}/Scan_{day:%Y%m%d}_{number:04}.{'pdf' if in_pdf else 'jpg'}",
            day,
            partial(_scan, patient=patient, day=day, reference=f"N{number:05}", in_pdf=in_pdf),
        )
    yield from _templates("Modèles")
    yield from _plannings("Plannings", weeks=48)
    for number, title in enumerate(
        ("Hygiène des mains", "Accident d'exposition au sang", "Chaîne du froid")
    ):
        day = date(2026, 2, 2 + number)
        yield _Planned(
            f"Protocoles/Qualité/{title}.docx",
            day,
            partial(_text_document, title=title, day=day, reference=f"P{number:03}"),
        )
