"""The sheet of a drill: figures as a practice reads them, and one sentence that tells the truth."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from appliance.model import Outcome
from appliance.policy import drill_sheet
from appliance.policy.drills import Drill, RepositoryLine

PARIS = ZoneInfo("Europe/Paris")
RIGHT = Drill(
    "Disque", 12, "2026-11-22T23:30:00+00:00", data_age_s=40_000, state_s=3.2,
    first_document_s=8.44, restored_s=185.0, total_s=7450.0, files=1412, bytes=3_200_000_000,
    repositories=(RepositoryLine(1, "Poste", 300, 2_400_000_000, 92.0, "right"),),
    documents=28, documents_same=28, segments=380, segments_same=371, segments_gone=9,
    secrets=11, secrets_same=11, ledger_entries=12_040, dmia_s=86_400,
)  # fmt: skip


def rows(drill, language="fr"):
    found = drill_sheet.sections(drill, language, PARIS)
    return {row.label: row for section in found for row in section.rows}


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "–"),
        (0, "0,0 s"),
        (8.44, "8,4 s"),
        (59, "59 s"),
        (185, "3 min 05 s"),
        (7450, "2 h 04 min"),
    ],
)
def test_a_time_is_as_exact_as_it_is_short(seconds, shown):
    assert drill_sheet.stopwatch(seconds, "fr") == shown


def test_the_figures_are_said_in_the_practice_s_own_time_and_numbers():
    """The night between two days belongs to the later one in Paris."""
    found = rows(RIGHT)
    assert found["Génération"].value == "n° 12, du 23/11/2026 00:30"
    assert found["Documents comparés octet par octet"].value == "28 sur 28"
    assert found["Segments de dépôts comparés octet par octet"].note == "9 supprimés ici depuis"
    assert found["Tout est revenu et vérifié"].note == "promis : 24 heures"
    assert found["Journal"].value == "12\N{NARROW NO-BREAK SPACE}040 écritures"
    assert not any(row.is_wrong for row in found.values())


@pytest.mark.parametrize(
    "harm",
    [
        {"documents_different": 1},
        {"segments_different": 2},
        {"passphrases_wrong": 1},
        {"ledger_follows": False},
        {"faults": 1},
        {"lost_s": 86_400},
        {"dmia_s": 60},
        {"pdma_s": 3600},
    ],
)
def test_what_is_wrong_is_marked_in_its_own_line(harm):
    """One line, and no other."""
    assert sum(row.is_wrong for row in rows(replace(RIGHT, **harm)).values()) == 1


@pytest.mark.parametrize(
    ("drill", "outcome", "part"),
    [
        (RIGHT, Outcome.PROVEN, "ce qui est revenu est bien ce qui est ici"),
        (replace(RIGHT, lost_s=1), Outcome.INCONCLUSIVE, "génération plus ancienne"),
        (replace(RIGHT, faults=1), Outcome.INCONCLUSIVE, "cache ou a altéré"),
        (RIGHT, Outcome.INCONCLUSIVE, "rien à comparer"),
        (replace(RIGHT, documents_different=1), Outcome.FAILED, "quelque chose diffère"),
        (replace(RIGHT, reason="target.object-missing"), Outcome.FAILED, "manque"),
        (replace(RIGHT, reason="of.a-later-program"), Outcome.FAILED, "of.a-later-program"),
    ],
)
def test_one_sentence_says_how_it_ended_and_why(drill, outcome, part):
    assert part in drill_sheet.sentence(drill, outcome, "fr")
