"""Copies of the small practice at four places, written through the rooms' own doors."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import Connection

from appliance.db import copies, facts, targets
from appliance.db.engine import Database
from appliance.db.targets import TargetRow
from appliance.jobs import queue, target_setup
from appliance.jobs.kinds import PushCopy
from appliance.ledger import chain, proofs
from appliance.model import JobState, LedgerEntry, Outcome, Progress
from appliance.policy.hosting import Nature
from appliance.settings import Settings
from appliance.units import KIB
from appliance.vault.seal import make_keys

NIGHTS = 9
DISK_ID = "0123456789abcdef0123456789abcdef"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFkc2ZhZHNmYWRzZmFkc2ZhZHNmYWRzZmFkc2Zh"


@dataclass(frozen=True)
class Copied:
    """What was written."""

    host: TargetRow
    bucket: TargetRow
    box: TargetRow
    disk: TargetRow


def full_dossier(now: datetime) -> dict[str, object]:
    """A host's dossier with which nothing is wrong on the day of ``now``."""
    day = now.date()
    return {
        "company": "Hébergeur Exemple SAS",
        "siren": "123456789",
        "incident_contact": "01 23 45 67 89, jour et nuit",
        "certificate_number": "HDS-4242",
        "certification_body": "LSTI",
        "version": "v2",
        "activities": [1, 2, 4, 6],
        "issued_on": (day - timedelta(days=300)).isoformat(),
        "expires_on": (day + timedelta(days=700)).isoformat(),
        "list_checked_on": day.isoformat(),
        "audited_on": day.isoformat(),
        "sites": [{"city": "Roubaix", "country": "FR"}],
        "access_from_outside": "none",
        "transfers_page": "https://exemple.fr/transferts",
        "transfers_read_on": day.isoformat(),
        "contract_reference": "C-2026-17",
        "contract_signed_on": day.isoformat(),
        "products": ["Stockage SFTP santé"],
        "contract": {str(point): "present" for point in range(1, 15)},
        "contact": "Dr Claire Martin",
        "professional": {
            "name": "Dr Claire Martin",
            "rpps": "10101010101",
            "designated_on": day.isoformat(),
        },
        "deputy": {
            "name": "Dr Paul Durand",
            "rpps": "20202020202",
            "designated_on": day.isoformat(),
        },
        "documents": [{"kind": "certificate", "sha256": "ab" * 32}],
    }


def fill_copies(database: Database, settings: Settings, now: datetime) -> Copied:
    """Write four targets, their pushes, generations and proofs; return them."""
    make_keys(settings.keys)
    with database.write() as connection:
        host = _add(
            connection, settings, now,
            name="hebergeur", label="Hébergeur Exemple", kind="sftp",
            place={"host": "sftp.exemple.fr", "user": "cabinet", "host_key": HOST_KEY},
            nature=Nature.CERTIFIED_HOST, distance_km=220,
        )  # fmt: skip
        target_setup.set_dossier(connection, host.id, full_dossier(now), person=None, now=now)
        bucket = _add(
            connection, settings, now,
            name="coffre", label="Coffre d’objets", kind="s3",
            place={
                "endpoint": "https://s3.fr-par.exemple.fr", "region": "fr-par", "bucket": "cabinet",
                "lock_mode": "COMPLIANCE", "lock_days": 30,
            },
            nature=Nature.CERTIFIED_HOST, distance_km=460,
            secrets={"s3": target_setup.s3_secret("AK", "SK")},
        )  # fmt: skip
        target_setup.set_dossier(connection, bucket.id, full_dossier(now), person=None, now=now)
        box = _add(
            connection, settings, now,
            name="pasteur", label="Cabinet de la rue Pasteur", kind="box",
            place={"host": "10.8.0.2", "sender": "cabinet-1", "host_key": HOST_KEY},
            nature=Nature.SAME_PRACTICE_ELSEWHERE, distance_km=4,
        )  # fmt: skip
        disk = _add(
            connection, settings, now,
            name="disque-a", label="Disque A, mardi", kind="directory",
            place={"disk_id": DISK_ID, "is_removable": True, "folder": "/nulle/part"},
            nature=Nature.SAME_PRACTICE_HERE, distance_km=0,
        )  # fmt: skip
        facts.put(connection, "kit.confirmed_at", (now - timedelta(days=30)).isoformat(), now=now)
        for back in reversed(range(NIGHTS)):
            night = now - timedelta(days=back, hours=5)
            for row in (host, box):
                _push(connection, row, night, back, (NIGHTS - back))
        _push(connection, disk, now - timedelta(days=3), 3, 1)
        for row, at in ((host, now - timedelta(hours=4)), (box, now - timedelta(hours=4))):
            _prove(connection, row, at, now - timedelta(hours=5))
        _prove(connection, disk, now - timedelta(days=3), now - timedelta(days=3))
        attempts(connection, host, now - timedelta(hours=4), "done")
        attempts(connection, box, now - timedelta(hours=4), "refused")
        _bucket_facts(connection, bucket, now - timedelta(hours=9))
        return Copied(*(targets.get(connection, each.id) for each in (host, bucket, box, disk)))


def add_transfer(database: Database, row: TargetRow, now: datetime) -> int:
    """Add a sending that is a third of the way and return its id."""
    with database.write() as connection:
        job = queue.enqueue(connection, PushCopy(row.id), now=now - timedelta(minutes=31))
        queue.claim(connection, runner="tests:1", now=now - timedelta(minutes=30), only=job)
        progress = Progress("sending", 3_400_000_000, 10_200_000_000, "bytes", 0, 1_900_000.0)
        queue.report(connection, job, progress, now=now)
    return job


def attempts(connection: Connection, row: TargetRow, at: datetime, outcome: str) -> None:
    """Write what the nightly attempts to harm a copy did, all of them alike."""
    from appliance.policy.immutability import EXPECTED, judge
    from appliance.policy.immutability import Attempt as Tried
    from appliance.policy.immutability import Outcome as How

    tried = [Tried(action, How(outcome)) for action in EXPECTED[row.kind]]
    judged = judge(row.kind, tried)
    body: dict[str, object] = {
        "kind": row.kind,
        "immutable": judged.is_immutable,
        "attempts": [
            {"action": each.action.value, "outcome": each.outcome.value, "detail": ""}
            for each in tried
        ],
    }
    proofs.record(
        connection, at=at, kind="copy.tamper",
        outcome=Outcome.PROVEN if judged.is_immutable else Outcome.FAILED,
        figures=body, target_id=row.id,
    )  # fmt: skip
    fact = {"at": at.isoformat(), "text": judged.text, **body}
    targets.set_facts(connection, row.id, {"tamper": fact})


def events(database: Database, name: str) -> list[LedgerEntry]:
    """Return what the journal holds of one event, oldest first."""
    with database.read() as connection:
        return [one for one in chain.entries(connection) if one.event == name]


def waiting(database: Database, kind: str) -> list[dict[str, object]]:
    """Return what is queued of one kind."""
    with database.read() as connection:
        return [
            job.spec
            for job in queue.waiting(connection)
            if job.state is JobState.QUEUED and job.kind == kind
        ]


def row_of(database: Database, name: str) -> TargetRow:
    """Return a copy by its name."""
    with database.read() as connection:
        return targets.get_by_name(connection, name)


def _add(
    connection: Connection,
    settings: Settings,
    now: datetime,
    *,
    secrets: object = None,
    **values: object,
) -> TargetRow:
    return target_setup.add_target(
        connection,
        settings,
        secrets=secrets or {},  # type: ignore[arg-type]
        person=None,
        now=now - timedelta(days=NIGHTS + 1),
        **values,  # type: ignore[arg-type]
    )


def _push(connection: Connection, row: TargetRow, at: datetime, back: int, number: int) -> None:
    sent = 41_000_000_000 if number == 1 else 120_000_000 + 31_000_000 * (back % 4)
    job = queue.enqueue(connection, PushCopy(row.id), now=at)
    queue.claim(connection, runner="tests:1", now=at, only=job)
    made = [
        copies.sealed(
            connection, row.id,
            name=f"objects/{row.id}-{number}-{part}", repository=1, path=f"data/{number}/{part}",
            plain_size=8 * KIB, plain_mtime_ns=1, plain_sha256="aa" * 32,
            sealed_size=8 * KIB + 200, sealed_sha256="bb" * 32, now=at,
        )
        for part in range(3)
    ]  # fmt: skip
    copies.put(connection, made, now=at)
    copies.intend(
        connection, row.id,
        number=number, taken_at=at, sha256=sha256(f"{row.id}-{number}".encode()).hexdigest(),
        previous="00" * 32, objects=made, plain_bytes=41_000_000_000 + 90_000_000 * number, new_bytes=sent,
    )  # fmt: skip
    ended = at + timedelta(minutes=11 + back % 3)
    copies.published(connection, row.id, number, now=ended)
    queue.finish(
        connection, job, JobState.SUCCEEDED, now=ended,
        result={"generation": number, "sent_bytes": sent, "seconds": 60.0 * (11 + back % 3)},
    )  # fmt: skip


def _prove(connection: Connection, row: TargetRow, at: datetime, taken_at: datetime) -> None:
    since = (at - timedelta(days=12)).isoformat()
    for kind, figures in (
        ("copy.listing", {"objects": 27, "missing": 0}),
        ("copy.read-back", {"objects": 9, "bytes": 73_000, "since": since, "unread": 0}),
        ("copy.complete", {"taken_at": taken_at.isoformat(), "generation": NIGHTS}),
    ):
        proofs.record(
            connection, at=at, kind=kind, outcome=Outcome.PROVEN, figures=figures, target_id=row.id
        )


def _bucket_facts(connection: Connection, row: TargetRow, at: datetime) -> None:
    from appliance.policy.bucket import BucketFacts, conformance

    answers = conformance(
        BucketFacts(
            has_lock=True, versioning="Enabled", ending_rules=("nettoyage",), public_by=(),
            region="fr-par", encryption=None,
        ),
        lock_mode="COMPLIANCE",
    )  # fmt: skip
    stored = [
        {
            "name": each.name, "state": each.state.value, "text": each.text, "facts": each.facts,
            "answered_at": None if each.state == "unknown" else at.isoformat(),
        }
        for each in answers
    ]  # fmt: skip
    fact = {"at": at.isoformat(), "fit": False, "answers": stored}
    targets.set_facts(connection, row.id, {"bucket": fact})
