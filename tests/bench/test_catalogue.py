"""The catalogue at the size of a large practice: 30 snapshots of 500,000 files.

``ARMOIRE_BENCH_SCALE=0.1`` makes a tenth of it.
"""

import os
import random
import statistics
import time
from dataclasses import replace
from hashlib import sha256

import pytest

from appliance.catalogue import query
from appliance.catalogue.names import find_names
from appliance.catalogue.rebuild import import_archive
from appliance.model import Entry, EntryKind, SnapshotId
from tests.bench.report import record
from tests.support.catalogues import new_catalogue, night_of

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

SCALE = float(os.environ.get("ARMOIRE_BENCH_SCALE", "1"))
FILES = int(500_000 * SCALE)
NIGHTS = 30
WIDE = int(20_000 * max(SCALE, 0.05))

NAMES = [
    "Dupont",
    "Martin",
    "Bernard",
    "Thomas",
    "Petit",
    "Robert",
    "Richard",
    "Durand",
    "Dubois",
    "Moreau",
    "Laurent",
    "Simon",
    "Michel",
    "Lefèvre",
    "Leroy",
    "Roux",
    "David",
    "Bertrand",
    "Morel",
    "Fournier",
    "Girard",
    "Bonnet",
    "Dupuis",
    "Lambert",
    "Fontaine",
    "Rousseau",
    "Vincent",
    "Müller",
    "Lefebvre",
    "Faure",
    "André",
    "Mercier",
    "Blanc",
    "Guérin",
    "Boyer",
    "Garnier",
    "Chevalier",
    "François",
    "Legrand",
]
KINDS = [
    "radio",
    "échographie",
    "scanner",
    "IRM",
    "ordonnance",
    "courrier",
    "facture",
    "compte-rendu",
    "analyse",
    "bilan",
    "lettre",
    "consultation",
    "certificat",
    "arrêt",
    "mammographie",
    "panoramique",
    "électrocardiogramme",
    "consentement",
    "devis",
]
PARTS = [
    "thorax",
    "genou",
    "épaule",
    "main",
    "cheville",
    "rachis",
    "hanche",
    "abdomen",
    "crâne",
    "poignet",
    "coude",
    "bassin",
]
ENDS = ["pdf", "jpg", "dcm", "docx", "txt", "odt", "png", "xml"]
QUERIES = [
    "dupont",
    "martin radio",
    "lefevre",
    "echographie genou",
    "ordonnance 2024",
    "irm rachis",
    "courrier",
    "12345",
    "4321",
    "compte-rendu",
    "facture 2023-05",
    "mammographie",
    "guerin scanner",
    "bilan pdf",
    "certificat 2019",
    "radio",
    "devis",
    "francois",
    "legrand irm",
    "electrocardiogramme",
    "panoramique dcm",
    "hanche",
    "poignet 2022",
    "abdomen scanner 2021",
    "muller",
    "analyse 2020-11",
    "pdf",
    "dcm",
    "consentement",
    "xyzzy",
    "rousseau lettre",
    "arret 2018",
    "crane",
    "bassin jpg",
    "chevalier courrier 2025",
    "0042",
    "98765.pdf",
    "le",
    "ma",
    "ge",
    "a",
]


def _entry(number: int, version: int = 0) -> Entry:
    dice = random.Random(number)
    patient = number % 5_000
    folder = f"srv/cabinet/Patients/{NAMES[patient % len(NAMES)]} {patient:04}"
    name = (
        f"{dice.choice(KINDS)} {dice.choice(PARTS)} {2015 + number % 11}-{1 + number % 12:02}-"
        f"{1 + number % 28:02} {number}.{dice.choice(ENDS)}"
    )
    return Entry(
        f"{folder}/{name}".encode(),
        EntryKind.FILE,
        10_000 + number,
        1_600_000_000_000_000_000 + number * 10**9 + version,
        0o100640,
        1000,
        1000,
        "cabinet",
        "cabinet",
        None,
        sha256(b"%d %d" % (number, version)).digest() + (10_000 + number).to_bytes(4, "little"),
    )


@pytest.fixture(scope="module")
def practice(tmp_path_factory):
    """30 nights, 1 % changed in each; also one folder of 20,000 files."""
    catalogue = new_catalogue(tmp_path_factory.mktemp("catalogue"), 1)
    dice = random.Random(1)
    wide = [
        replace(_entry(n), path=b"srv/scans/" + _entry(n).path.rpartition(b"/")[2])
        for n in range(WIDE)
    ]
    began = time.perf_counter()
    with catalogue.night(SnapshotId(1), night_of(1)) as night:
        for number in range(FILES - WIDE):
            night.put(_entry(number))
        for entry in wide:
            night.put(entry)
        made = time.perf_counter()
        night.commit()
    first = time.perf_counter() - began
    seconds, ratios = [], []
    for snapshot in range(2, NIGHTS + 1):
        chosen = dice.sample(range(FILES - WIDE), FILES // 100)
        changed = [_entry(number, snapshot) for number in chosen]
        began = time.perf_counter()
        with catalogue.night(SnapshotId(snapshot), night_of(snapshot)) as night:
            for entry in changed:
                night.put(entry)
            counts = night.commit()
        seconds.append(time.perf_counter() - began)
        ratios.append(counts.rows_written / (counts.changed + counts.added + counts.gone))
    return catalogue, {
        "first_s": round(first, 1),
        "index_s": round(first - (made - began if made > began else 0), 1),
        "update_s": seconds,
        "rows_per_change": max(ratios),
        "MB": round(catalogue.path.stat().st_size / 1e6),
    }


def test_a_night_of_one_per_cent(practice):
    """Changes named by the engine; and the same night read out of the whole archive."""
    catalogue, figures = practice
    median = statistics.median(figures["update_s"])
    record(
        f"catalogue update, 1 % of {FILES:,} files (s)",
        median,
        3,
        median <= 3,
        {
            "worst": round(max(figures["update_s"]), 2),
            "first": figures["first_s"],
            "MB": figures["MB"],
        },
    )
    record(
        "catalogue update, rows written per change",
        figures["rows_per_change"],
        1.1,
        figures["rows_per_change"] <= 1.1,
        {},
    )
    entries = list(query.walk(catalogue, SnapshotId(NIGHTS)))
    began = time.perf_counter()
    counts = import_archive(catalogue, SnapshotId(NIGHTS + 1), night_of(NIGHTS + 1), entries)
    seconds = time.perf_counter() - began
    record(f"catalogue, whole archive of {FILES:,} compared (s)", seconds, 10, seconds <= 10, {})
    assert (counts.changed, counts.added, counts.gone) == (0, 0, 0)
    assert median <= 3
    assert figures["rows_per_change"] <= 1.1


def test_words_over_every_night(practice):
    """As typed by people: names, kinds, dates, numbers, short words, words that are nowhere."""
    catalogue, _ = practice
    folder = catalogue.path.parent
    for words in QUERIES:
        find_names(folder, words)
    taken: list[float] = []
    slowest = ("", 0.0)
    for _ in range(5):
        for words in QUERIES:
            began = time.perf_counter()
            find_names(folder, words)
            ms = (time.perf_counter() - began) * 1000
            taken.append(ms)
            slowest = max(slowest, (words, ms), key=lambda each: each[1])
    taken.sort()
    p50, p95 = taken[len(taken) // 2], taken[int(len(taken) * 0.95)]
    with catalogue.reading() as connection:
        began = time.perf_counter()
        connection.execute("SELECT count(*) FROM file WHERE norm LIKE '%dupont%'").fetchone()
        like = (time.perf_counter() - began) * 1000
    details = {
        "queries": len(taken),
        "slowest": slowest[0],
        "ms": round(slowest[1]),
        "LIKE": round(like),
    }
    record(f"search, {NIGHTS} snapshots × {FILES:,} files, p50 (ms)", p50, 20, p50 <= 20, details)
    record(f"search, {NIGHTS} snapshots × {FILES:,} files, p95 (ms)", p95, 50, p95 <= 50, {})
    assert p50 <= 20
    assert p95 <= 50


def test_a_folder_of_20_000(practice):
    """Its first page, and one in its middle, sorted as people sort."""
    catalogue, _ = practice
    taken = []
    for offset in (0, WIDE // 2) * 5:
        began = time.perf_counter()
        page = query.folder(catalogue, SnapshotId(NIGHTS), b"srv/scans", offset=offset, limit=200)
        taken.append((time.perf_counter() - began) * 1000)
        assert (page.total, len(page.rows)) == (WIDE, 200)
    median = statistics.median(taken)
    record(
        f"folder page, {WIDE:,} entries (ms)",
        median,
        150,
        median <= 150,
        {"worst": round(max(taken))},
    )
    assert median <= 150
