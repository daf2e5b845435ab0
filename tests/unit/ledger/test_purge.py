"""The oldest entries go after twelve months, and the chain still tells when somebody else cut it."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, func, select

from appliance.db.schema import ledger, proof
from appliance.errors import InvalidInput, LedgerBroken
from appliance.ledger import chain, events, proofs, purge
from appliance.model import Outcome, PersonId

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def filled(database):
    """One entry every ten days for 400 days: numbers 1 to 41, the last of today."""
    with database.write() as connection:
        for number in range(41):
            events.record(
                connection,
                at=NOW - (400 - 10 * number) * DAY,
                event="file.opened",
                subject="share:1",
                number=number,
            )
    return database


def test_what_is_older_than_twelve_months_goes_and_the_chain_verifies(filled):
    """An entry of 370 days is gone, one of 360 days is there; whoever kept them can check the sum."""
    with filled.read() as connection:
        before = [each.digest for each in chain.entries(connection)]
    with filled.write() as connection:
        pruned = purge.prune(connection, now=NOW, fewest=1)
    assert (pruned.first, pruned.last, pruned.entries) == (1, 4, 4)
    assert pruned.sha256 == hashlib.sha256("".join(before[:4]).encode()).hexdigest()
    with filled.read() as connection:
        assert next(chain.entries(connection)).at == NOW - 360 * DAY
        assert chain.verify(connection) == 38
    with filled.write() as connection:
        assert purge.prune(connection, now=NOW, fewest=1) is None
        assert purge.prune(connection, now=NOW + 10 * DAY, fewest=1).last == 5
    with filled.read() as connection:
        assert chain.verify(connection) == 38


def test_a_cut_without_a_checkpoint_is_found(filled):
    """Also one that goes further than the checkpoint says."""
    with filled.write() as connection:
        purge.prune(connection, now=NOW, fewest=1)
        connection.execute(delete(ledger).where(ledger.c.seq == 5))
    with filled.read() as connection, pytest.raises(LedgerBroken) as raised:
        chain.verify(connection)
    assert "checkpoint" in raised.value.reason


def test_removing_the_oldest_of_a_whole_ledger_is_found(filled):
    """No checkpoint at all."""
    with filled.write() as connection:
        connection.execute(delete(ledger).where(ledger.c.seq <= 2))
    with filled.read() as connection, pytest.raises(LedgerBroken):
        chain.verify(connection)


def test_a_proof_that_still_holds_stays_and_what_came_after_it(database):
    """The newest of its kind: without it the page would forget what is green."""
    from tests.unit.jobs.test_queue import a_source

    source = a_source(database)
    with database.write() as connection:
        for days, outcome in ((500, Outcome.PROVEN), (450, Outcome.PROVEN), (420, Outcome.FAILED)):
            proofs.record(
                connection, at=NOW - days * DAY, kind="snapshot.sample", outcome=outcome,
                figures={}, source_id=source.id,
            )  # fmt: skip
        purge.prune(connection, now=NOW, fewest=1)
        assert proofs.latest(connection, source.id, "snapshot.sample").outcome is Outcome.FAILED
        kept = connection.execute(select(func.count()).select_from(proof)).scalar()
        assert chain.verify(connection) == 2 + 1
    assert kept == 2


def test_nothing_goes_by_a_practice_that_keeps_three_years_with_a_reason(filled):
    """Longer than a year needs one (SEC-14)."""
    me = PersonId(1)
    with filled.write() as connection:
        for months, reason in ((24, ""), (24, "short"), (37, "a lawsuit goes on"), (5, "")):
            with pytest.raises(InvalidInput):
                purge.set_keeping(connection, months, reason, by=me, now=NOW)
        purge.set_keeping(connection, 36, "a lawsuit goes on", by=me, now=NOW)
        assert purge.prune(connection, now=NOW, fewest=1) is None
        purge.set_keeping(connection, 6, "", by=me, now=NOW)
        assert purge.prune(connection, now=NOW, fewest=1).entries > 20


def test_a_few_entries_wait_for_others(filled):
    """A checkpoint a day would be longer than what it sums up."""
    with filled.write() as connection:
        assert purge.prune(connection, now=NOW) is None
