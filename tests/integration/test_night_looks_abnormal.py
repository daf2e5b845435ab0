"""A normal week raises nothing; a third of the documents encrypted in one night raises an alarm."""

import os
import random
import zlib

import pytest

from appliance.db import anomalies, snapshots
from appliance.jobs.kinds import Prune
from appliance.ledger import chain
from appliance.model import JobState
from appliance.policy.anomaly import AnomalyKind
from tests.support.box import Box

pytestmark = pytest.mark.integration

FILES = 90


@pytest.fixture
def box(tmp_path):
    made = Box(tmp_path / "data")
    yield made
    made.close()


def document(number, rng):
    """A letter as a PDF, a note, or a table: each begins as its name says."""
    words = " ".join(
        rng.choice(["patient", "tension", "ordonnance", "suivi", "bilan"]) for _ in range(400)
    )
    match number % 3:
        case 0:
            return f"lettre {number}.pdf", b"%PDF-1.4\n" + zlib.compress(
                words.encode() + rng.randbytes(900)
            )
        case 1:
            return f"note {number}.txt", words.encode()
        case _:
            return f"table {number}.csv", words.replace(" ", ";").encode()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "documents"
    made.mkdir()
    rng = random.Random(7)
    for number in range(FILES):
        name, data = document(number, rng)
        (made / name).write_bytes(data)
    return made


def test_a_week_of_work_is_normal_and_an_encrypted_third_is_not(box, folder):
    """The alarm explains itself, freezes pruning, and the bad night is no example for the next."""
    rng = random.Random(11)
    share = box.add_share(folder)
    box.take(share)
    for night in range(5):
        for number in rng.sample(range(FILES), 2):
            name, data = document(number, rng)
            (folder / name).write_bytes(data)
        name, data = document(1000 + night, rng)
        (folder / name).write_bytes(data)
        assert box.take(share) is JobState.SUCCEEDED
    with box.database.read() as connection:
        assert anomalies.open_ones(connection, share.id) == []

    for path in sorted(folder.iterdir())[: FILES // 3]:
        path.write_bytes(os.urandom(max(300, path.stat().st_size)))
    assert box.take(share) is JobState.WARNED

    newest = box.newest(share)
    with box.database.read() as connection:
        opened = anomalies.open_ones(connection, share.id)
        stats = snapshots.stats(connection, newest.id)
        (entry,) = [e for e in chain.entries(connection) if e.event == "anomaly.opened"]
    encrypted = next(one for one in opened if one.kind == AnomalyKind.ENCRYPTED)
    assert encrypted.snapshot_id == newest.id
    assert 0.25 < encrypted.reading["value"] < 0.4
    assert encrypted.reading["usual"] < 0.05
    assert stats["figures"]["changed"] == FILES // 3
    assert "lettre" not in str(stats["figures"])
    assert AnomalyKind.ENCRYPTED.value in entry.body["kinds"]
    assert box.source(share).frozen_reason == "anomaly-open"
    assert box.run(Prune(share.id)) is JobState.WARNED

    # Another such night is measured against the week, not against the attack.
    for path in sorted(folder.iterdir())[FILES // 3 : 2 * FILES // 3]:
        path.write_bytes(os.urandom(max(300, path.stat().st_size)))
    box.take(share)
    with box.database.read() as connection:
        again = [o for o in anomalies.open_ones(connection, share.id) if o.snapshot_id != newest.id]
    assert next(o for o in again if o.kind == AnomalyKind.ENCRYPTED).reading["usual"] < 0.05


def test_a_touched_canary_is_an_alarm_on_any_night(box, folder):
    """Nobody has a reason to touch it."""
    (folder / ".armoire-canari").write_bytes(b"do not touch me" * 30)
    share = box.add_share(folder)
    box.take(share)
    (folder / ".armoire-canari").write_bytes(os.urandom(450))

    assert box.take(share) is JobState.WARNED

    with box.database.read() as connection:
        (opened,) = anomalies.open_ones(connection, share.id)
    assert opened.kind == AnomalyKind.CANARY


def test_moving_a_folder_is_a_move_not_a_loss(box, folder):
    """The same content under other paths is counted as renamed."""
    share = box.add_share(folder)
    box.take(share)
    (folder / "2026").mkdir()
    for path in sorted(folder.glob("lettre *"))[:4]:
        path.rename(folder / "2026" / path.name)

    assert box.take(share) is JobState.SUCCEEDED

    with box.database.read() as connection:
        figures = snapshots.stats(connection, box.newest(share).id)["figures"]
    assert (figures["renamed"], figures["vanished"], figures["added"]) == (4, 0, 0)
