"""Live databases are recognised; the editor's own backup is judged."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import SourceId
from appliance.policy.editor_backup import EDITOR_PROBLEM_TEXTS, EditorProblem, judge_editor_backup
from appliance.policy.findings import Severity
from appliance.policy.live_databases import (
    ENGINE_NAMES,
    DatabaseEngine,
    detect_live_database,
    is_dbase,
    live_database_finding,
)

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

#: A table written on 23 November 2026: dBase III, 2 records, header of 97 bytes.
DBASE = (
    bytes([0x03, 126, 11, 23]) + (2).to_bytes(4, "little") + (97).to_bytes(2, "little") + bytes(54)
)
#: No dBase table: the version byte is 0.
OTHER = bytes([0x00, 0xA2]) + bytes(62)


@pytest.mark.parametrize(
    ("names", "heads", "engine"),
    [
        (["PG_VERSION", "base", "global", "pg_wal"], {}, DatabaseEngine.POSTGRESQL),
        (["ibdata1", "ib_logfile0", "mysql"], {}, DatabaseEngine.INNODB),
        (["patient.ibd", "patient.frm"], {}, DatabaseEngine.INNODB),
        (["Cabinet.MDF", "Cabinet_log.LDF"], {}, DatabaseEngine.SQL_SERVER),
        (["cabinet.mdf"], {"cabinet.mdf": b"\x01\x0f" + bytes(62)}, DatabaseEngine.SQL_SERVER),
        (["cabinet.mdf"], {}, DatabaseEngine.SQL_SERVER),
        (["film.mdf", "film.mds"], {"film.mdf": b"CD001" + bytes(59)}, None),
        (["cabinet_log.ldf"], {}, DatabaseEngine.SQL_SERVER),
        (["PATIENT.FIC", "PATIENT.NDX", "PATIENT.MMO"], {}, DatabaseEngine.HFSQL),
        (["SYSTEM01.DBF", "CONTROL01.CTL", "USERS01.DBF"], {}, DatabaseEngine.ORACLE),
        (["users01.dbf"], {"users01.dbf": OTHER}, DatabaseEngine.ORACLE),
        (["PATIENTS.DBF", "PATIENTS.CDX"], {"PATIENTS.DBF": DBASE}, DatabaseEngine.DBASE),
        (["patients.dbf"], {}, None),
        (["patients.dbf"], {"patients.dbf": b""}, None),
        (["lettre.pdf", "scan.jpg"], {}, None),
        ([], {}, None),
        (["pg_version.txt", "ibdata1.bak", "a.mdf.zip"], {}, None),
    ],
)
def test_a_folder_of_a_live_database_is_recognised(names, heads, engine):
    """domain.md APP-03: each fixture gives the right warning, and an ordinary folder none."""
    assert detect_live_database(names, heads) is engine


@pytest.mark.parametrize(
    ("head", "dbase"),
    [
        (DBASE, True),
        (bytes([0x8B]) + DBASE[1:], True),
        (bytes([0x30, 0, 0, 0]) + DBASE[4:], True),
        (OTHER, False),
        (bytes([0x03, 126, 13, 23]) + DBASE[4:], False),
        (bytes([0x03, 126, 11, 32]) + DBASE[4:], False),
        (DBASE[:8] + bytes(56), False),
        (DBASE[:11], False),
        (b"", False),
    ],
)
def test_a_dbase_table_is_known_by_its_first_bytes(head, dbase):
    """A version, a date that exists, a header that can hold a field."""
    assert is_dbase(head) is dbase


def test_the_warning_names_the_engine_and_what_to_do():
    """A server's files are a warning; tables of a closed program are a notice."""
    postgres = live_database_finding(SourceId(3), "Serveur", DatabaseEngine.POSTGRESQL)
    dbase = live_database_finding(SourceId(3), "Serveur", DatabaseEngine.DBASE)

    assert postgres.severity is Severity.WARNING
    assert "PostgreSQL" in postgres.words("fr")
    assert "recette" in postgres.action_words("fr")
    assert dbase.severity is Severity.NOTICE
    assert dbase.code != postgres.code
    assert set(ENGINE_NAMES) == set(DatabaseEngine)


def backups(*ages_and_sizes: tuple[float, int], name: str = "cabinet-{}.zip"):
    return [
        (name.format(number), size, NOW - timedelta(hours=age))
        for number, (age, size) in enumerate(ages_and_sizes)
    ]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (backups((3, 1000), (27, 990), (51, 980)), None),
        (backups((25.9, 1000), (50, 1000)), None),
        (backups((26, 1000), (50, 1000)), EditorProblem.STALE),
        (backups((3, 500), (27, 1000), (51, 1000)), None),
        (backups((3, 499), (27, 1000), (51, 1000)), EditorProblem.SHRUNK),
        (backups((3, 0), (27, 1000)), EditorProblem.SHRUNK),
        (backups((3, 1000)), None),
        (backups((3, 0)), EditorProblem.EMPTY),
        ([], EditorProblem.EMPTY),
        (backups((-30, 1000), (3, 1000)), EditorProblem.FUTURE),
        (backups((-1, 1000)), None),
        # A fresh log beside a stale backup is no backup.
        ([*backups((40, 1000), (64, 1000)), *backups((1, 10), name="{}.log")], EditorProblem.STALE),
        (backups((3, 1000), (27, 900), name="sauvegarde{}"), None),
        (backups((3, 100), (27, 1000), (51, 10), name=".cache{}"), EditorProblem.SHRUNK),
    ],
)
def test_an_editors_backup_must_be_fresh_and_not_half_sized(files, problem):
    """domain.md APP-04: under 26 hours, at least half of the median."""
    assert judge_editor_backup(files, NOW).problem is problem


@given(st.lists(st.tuples(st.floats(-100, 500), st.integers(0, 10**9)), max_size=12))
def test_a_backup_is_good_only_when_it_is_fresh_and_large_enough(ages_and_sizes):
    """Whatever lies in the folder."""
    found = judge_editor_backup(backups(*ages_and_sizes), NOW)

    if found.problem is None:
        assert NOW - found.newest_at < timedelta(hours=26)
        assert found.newest_bytes > 0 or found.usual_bytes == 0
        assert found.usual_bytes is None or found.newest_bytes >= found.usual_bytes / 2
    assert set(EDITOR_PROBLEM_TEXTS) == set(EditorProblem)
