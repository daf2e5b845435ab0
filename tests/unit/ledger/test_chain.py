"""The ledger cannot be changed unseen."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, update

from appliance.db.schema import ledger
from appliance.errors import LedgerBroken
from appliance.ledger import chain, events, proofs
from appliance.model import Outcome

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def filled(database):
    with database.write() as connection:
        for hour in range(6):
            events.record(
                connection,
                at=NOON + timedelta(hours=hour),
                event="snapshot.taken",
                subject=f"source:{hour}",
                files=hour,
            )
    return database


def test_a_chain_as_written_verifies(filled):
    with filled.read() as connection:
        assert chain.verify(connection) == 6


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("body", '{"files":0}'),
        ("event", "snapshot.removed"),
        ("actor", "person:9"),
        ("subject", "source:9"),
        ("at", NOON),
        ("digest", "f" * 64),
        ("previous", "f" * 64),
    ],
)
def test_an_altered_entry_is_found(filled, column, value):
    with filled.write() as connection:
        connection.execute(update(ledger).where(ledger.c.seq == 3).values({column: value}))

    with filled.read() as connection, pytest.raises(LedgerBroken):
        chain.verify(connection)


def test_a_missing_entry_is_found(filled):
    with filled.write() as connection:
        connection.execute(delete(ledger).where(ledger.c.seq == 4))
    with filled.read() as connection, pytest.raises(LedgerBroken) as raised:
        chain.verify(connection)
    assert "4" in raised.value.reason


def test_the_documented_format_is_enough_to_check_an_entry(filled):
    """docs/formats/ledger.md: anyone can recompute a digest."""
    with filled.read() as connection:
        last = chain.newest(connection, limit=1)[0]
    text = (
        f"{last.seq}|{last.at:%Y-%m-%dT%H:%M:%S.%fZ}|{last.event}|{last.actor}|{last.subject}|"
        f'{{"files":5}}|{last.previous}'
    )

    assert hashlib.sha256(text.encode()).hexdigest() == last.digest


def test_a_failed_write_leaves_no_entry(database):
    """An event is committed with what it tells of, or not at all."""
    with pytest.raises(RuntimeError), database.write() as connection:
        events.record(connection, at=NOON, event="a.b", subject="c:1")
        raise RuntimeError
    with database.read() as connection:
        assert chain.length(connection) == 0


def test_the_newest_proof_of_a_kind_is_found(database):
    from tests.unit.jobs.test_queue import a_source

    source = a_source(database)
    with database.write() as connection:
        for outcome in (Outcome.PROVEN, Outcome.FAILED):
            proofs.record(
                connection,
                at=NOON,
                kind="snapshot.sample",
                outcome=outcome,
                figures={"files": 20},
                source_id=source.id,
            )
    with database.read() as connection:
        latest = proofs.latest(connection, source.id, "snapshot.sample")
        green = proofs.latest(connection, source.id, "snapshot.sample", outcome=Outcome.PROVEN)
        assert chain.verify(connection) == 2

    assert latest is not None
    assert latest.outcome is Outcome.FAILED
    assert green is not None
    assert green.seq < latest.seq
