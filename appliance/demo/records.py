"""The practice software's database of the demonstration, as SQL for PostgreSQL."""

import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Final

from appliance.demo import words

ROWS_PER_INSERT: Final = 400
TABLES: Final = (
    """CREATE TABLE patients (
    id integer PRIMARY KEY, nom text NOT NULL, prenom text NOT NULL, sexe char(1) NOT NULL,
    naissance date NOT NULL, adresse text NOT NULL, telephone text NOT NULL, nir text NOT NULL)""",
    """CREATE TABLE consultations (
    id bigserial PRIMARY KEY, patient_id integer NOT NULL REFERENCES patients, jour date NOT NULL,
    medecin text NOT NULL, motif text NOT NULL, examen text NOT NULL, conclusion text NOT NULL,
    tension_max integer, tension_min integer, poids_kg numeric(5, 1))""",
    """CREATE TABLE prescriptions (
    id bigserial PRIMARY KEY, patient_id integer NOT NULL REFERENCES patients, jour date NOT NULL,
    ligne text NOT NULL)""",
    """CREATE TABLE rendez_vous (
    id bigserial PRIMARY KEY, patient_id integer NOT NULL REFERENCES patients,
    debut timestamptz NOT NULL, medecin text NOT NULL, UNIQUE (medecin, debut))""",
    "CREATE INDEX ON consultations (patient_id, jour)",
    "CREATE INDEX ON prescriptions (patient_id, jour)",
)


def seed_database(execute: Callable[[str], None], *, seed: int = 1, patients: int = 900) -> int:
    """Make the tables and fill them; return the number of rows (about 10 a patient).

    ``execute`` gets one statement, or several parted by «;», per call. Runs once: tables that are
    there already are the server's error.
    """
    rng = random.Random(seed)  # noqa: S311 - invented people, not secrets
    execute(";\n".join(TABLES) + ";")
    execute("COMMENT ON TABLE patients IS " + _quoted(words.GENERATED) + ";")
    people = [words.invent_patient(rng, number) for number in range(patients)]
    rows = _insert(
        execute,
        "patients (id, nom, prenom, sexe, naissance, adresse, telephone, nir)",
        [
            (one.number + 1, one.surname, one.first_name, "F" if one.woman else "M", one.born,
             one.address, one.phone, one.nir)
            for one in people
        ],
    )  # fmt: skip
    visits = [
        (number, words.day_before(rng))
        for number in range(1, patients + 1)
        for _ in range(rng.randint(1, 8))
    ]
    rows += _consultations(execute, rng, visits)
    rows += _prescriptions(execute, rng, visits)
    return rows + _appointments(execute, rng, patients, words.LAST_DAY + timedelta(days=3))


def change_database(execute: Callable[[str], None], *, seed: int, patients: int = 900) -> int:
    """Add one working day of consultations; return the number of rows added."""
    rng = random.Random(f"day {seed}")  # noqa: S311 - invented people, not secrets
    day = words.LAST_DAY + timedelta(days=seed)
    visits = [(rng.randint(1, patients), day) for _ in range(40)]
    return _consultations(execute, rng, visits) + _prescriptions(execute, rng, visits)


def _consultations(
    execute: Callable[[str], None], rng: random.Random, visits: Sequence[tuple[int, date]]
) -> int:
    return _insert(
        execute,
        "consultations (patient_id, jour, medecin, motif, examen, conclusion, tension_max,"
        " tension_min, poids_kg)",
        [
            (number, day, rng.choice(words.DOCTORS), rng.choice(words.REASONS),
             " ".join(rng.sample(words.EXAMINATION, 3)), rng.choice(words.CONCLUSIONS),
             rng.randint(105, 175), rng.randint(60, 100), round(rng.uniform(48, 118), 1))
            for number, day in visits
        ],
    )  # fmt: skip


def _prescriptions(
    execute: Callable[[str], None], rng: random.Random, visits: Sequence[tuple[int, date]]
) -> int:
    return _insert(
        execute,
        "prescriptions (patient_id, jour, ligne)",
        [
            (number, day, line)
            for number, day in visits
            for line in rng.sample(words.DRUGS, rng.randint(0, 3))
        ],
    )


def _appointments(
    execute: Callable[[str], None], rng: random.Random, patients: int, first: date
) -> int:
    rows: list[Sequence[object]] = []
    for doctor in words.DOCTORS:
        for offset in range(10):
            day = first + timedelta(days=offset)
            if day.weekday() < 5:
                rows += [
                    (
                        rng.randint(1, patients),
                        f"{day} {9 + slot // 3:02}:{slot % 3 * 20:02}+01",
                        doctor,
                    )
                    for slot in range(24)
                    if rng.random() < 0.8
                ]
    return _insert(execute, "rendez_vous (patient_id, debut, medecin)", rows)


def _insert(execute: Callable[[str], None], into: str, rows: Sequence[Sequence[object]]) -> int:
    for start in range(0, len(rows), ROWS_PER_INSERT):
        values = ",\n".join(
            "(" + ", ".join(_quoted(value) for value in row) + ")"
            for row in rows[start : start + ROWS_PER_INSERT]
        )
        execute(f"INSERT INTO {into} VALUES\n{values};")
    return len(rows)


def _quoted(value: object) -> str:
    if isinstance(value, int | float):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"
