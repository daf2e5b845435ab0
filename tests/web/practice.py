"""A small practice with twelve nights behind it, written through the rooms' own doors."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import Connection

from appliance.catalogue.store import of_source
from appliance.db import repositories, snapshots, sources, workers
from appliance.db.engine import Database
from appliance.jobs import queue
from appliance.jobs.kinds import TakeSnapshot, VerifySnapshot
from appliance.ledger import proofs
from appliance.model import (
    Consistency,
    Entry,
    EntryKind,
    JobState,
    Outcome,
    Progress,
    ReadEvent,
    ReadEventKind,
    Snapshot,
    SnapshotId,
    SnapshotState,
    Source,
    SourceKind,
    System,
)
from appliance.settings import Settings

NIGHTS = 12
LETTER = "home/accueil/Patients/Dupont Élise/Courrier du 12 mars.txt".encode()
RADIO = "home/accueil/Patients/Dupont Élise/radio thorax.jpg".encode()
GONE = b"home/accueil/Patients/Martin Paul/ordonnance.pdf"


@dataclass(frozen=True)
class Practice:
    """What was written."""

    machine: Source
    server: Source
    share: Source
    snapshots: dict[int, list[SnapshotId]]  # source id → oldest first


def fill(database: Database, settings: Settings, now: datetime) -> Practice:
    """Write three sources and their nights; return them."""
    with database.write() as connection:
        workers.beat(connection, "tests:1", now=now)
        born = now - timedelta(days=NIGHTS + 1)
        machine = sources.add(
            connection,
            name="accueil",
            label="Poste accueil",
            kind=SourceKind.PULLED,
            roots=("/home/accueil",),
            host="192.168.1.20",
            user="armoire",
            now=born,
        )
        server = sources.add(
            connection,
            name="serveur",
            label="Serveur du logiciel médical",
            kind=SourceKind.PULLED,
            system=System.WINDOWS,
            roots=("C:/Dossiers",),
            host="192.168.1.10",
            user="Administrateur",
            now=born,
        )
        share = sources.add(
            connection,
            name="commun",
            label="Documents partagés",
            kind=SourceKind.SHARE,
            roots=("/srv/commun",),
            now=born,
        )
        for source in (machine, server, share):
            repositories.add(
                connection,
                source.id,
                path=str(settings.repositories / str(source.id)),
                borg_id=sha256(source.name.encode()).hexdigest(),
                now=born,
            )
            repositories.change(
                connection,
                source.id,
                size_bytes=812_000_000 * source.id,
                checked_at=now - timedelta(hours=6),
                all_read_since=now - timedelta(days=9),
            )
        sources.change(connection, machine.id, host_key="ssh-ed25519 AAAA", last_seen_at=now)
        sources.change(connection, server.id, last_seen_at=now - timedelta(days=4))
    found: dict[int, list[SnapshotId]] = {}
    last_night = now.replace(hour=1, minute=10)
    if last_night > now - timedelta(minutes=30):  # whatever the hour, the night before is over
        last_night -= timedelta(days=1)
    for source in (machine, server, share):
        catalogue = of_source(settings, source.id, create=True)
        found[source.id] = []
        for back in reversed(range(NIGHTS)):
            if source.id == server.id and back < 4:
                continue  # it was switched off
            at = last_night - timedelta(days=back) + timedelta(minutes=source.id)
            fails = source.id == machine.id and back == 7
            with database.write() as connection:
                number = _run(connection, source, at, fails=fails, back=back)
            if number is None:
                continue
            with catalogue.night(number, at) as night:
                if len(found[source.id]) == 0:
                    for entry in _first_night(source, at):
                        night.put(entry)
                else:
                    night.put(_file(LETTER, 1200 + 10 * back, at, number))
                    night.put(_file(b"home/accueil/Agenda.ods", 40_000 + back, at, number))
                if len(found[source.id]) == 3:
                    night.gone(GONE)
                night.commit()
            found[source.id].append(number)
    return Practice(machine, server, share, found)


def add_running_job(database: Database, source: Source, now: datetime) -> int:
    """Add a backup that is half-way and return its id."""
    with database.write() as connection:
        job = queue.enqueue(connection, TakeSnapshot(source.id), now=now - timedelta(seconds=90))
        queue.claim(connection, runner="tests:1", now=now - timedelta(seconds=80), only=job)
        progress = Progress("reading", 420_000_000, 900_000_000, "bytes", 12_345, 5_300_000.0)
        queue.report(connection, job, progress, now=now)
        queue.note(
            connection, job, now=now, level="info", text="The repository and its key are ready."
        )
    return job


def _run(
    connection: Connection, source: Source, at: datetime, *, fails: bool, back: int
) -> SnapshotId | None:
    job = queue.enqueue(connection, TakeSnapshot(source.id), now=at)
    queue.claim(connection, runner="tests:1", now=at, only=job)
    ended = at + timedelta(minutes=4)
    if fails:
        from appliance.errors import ConnectionLost

        queue.finish(
            connection, job, JobState.FAILED, now=ended, error=ConnectionLost(source.host or "")
        )
        return None
    warned = source.kind is SourceKind.SHARE and back == 0
    number = snapshots.next_id(connection)
    events = [
        ReadEvent(ReadEventKind.UNREADABLE, b"srv/commun/Compta/verrou.tmp", "permission denied"),
        ReadEvent(ReadEventKind.CHANGED_WHILE_READ, b"srv/commun/Agenda.ods", "size changed"),
    ]
    files = 1_800 + 7 * (NIGHTS - back)
    snapshots.add(
        connection,
        Snapshot(
            id=number,
            source_id=source.id,
            archive=f"{source.id}-{number}",
            archive_id=sha256(f"{source.id}-{number}".encode()).hexdigest(),
            job_id=job,
            started_at=at,
            finished_at=ended,
            state=SnapshotState.WARNED if warned else SnapshotState.COMPLETE,
            consistency=Consistency.FILES,
            files_seen=files,
            items=files + 60,
            original_bytes=4_200_000_000 + 9_000_000 * (NIGHTS - back),
            new_bytes=3_100_000_000 if back == NIGHTS - 1 else 9_000_000 + 2_000_000 * (back % 5),
            changed=14 + back,
            vanished=2,
            warnings=2 if warned else 0,
            protected=back == 5,
        ),
        events=events if warned else (),
    )
    state = JobState.WARNED if warned else JobState.SUCCEEDED
    queue.finish(connection, job, state, now=ended, result={"snapshot": number})
    check = queue.enqueue(connection, VerifySnapshot(source.id, number), now=ended, parent_id=job)
    queue.claim(connection, runner="tests:1", now=ended, only=check)
    done = ended + timedelta(minutes=1)
    for kind, figures in (
        ("snapshot.sample", {"files": 31, "bytes": 88_000_000, "seconds": 12.5}),
        ("snapshot.count", {"seen": files, "archived": files}),
    ):
        proofs.record(
            connection,
            at=done,
            kind=kind,
            outcome=Outcome.PROVEN,
            figures=figures,
            source_id=source.id,
            snapshot_id=number,
            actor=f"job:{check}",
        )
    queue.finish(connection, check, JobState.SUCCEEDED, now=done)
    return number


def _first_night(source: Source, at: datetime) -> list[Entry]:
    if source.kind is SourceKind.SHARE:
        return [_folder(b"srv/commun", at), _file(b"srv/commun/Agenda.ods", 40_000, at, 1)]
    patients = [
        ("Dupont Élise", ["Courrier du 12 mars.txt", "radio thorax.jpg", "bilan sanguin.pdf"]),
        ("Martin Paul", ["ordonnance.pdf", "compte rendu.docx"]),
        ("Nguyen Thi", ["échographie.dcm"]),
    ]
    found = [_folder(b"home/accueil", at), _folder(b"home/accueil/Patients", at)]
    for name, files in patients:
        found.append(_folder(f"home/accueil/Patients/{name}".encode(), at))
        for place, file in enumerate(files):
            path = f"home/accueil/Patients/{name}/{file}".encode()
            found.append(_file(path, 1200 + 90_000 * place, at, 1))
    found.append(_folder("home/accueil/Numérisations".encode(), at))
    found.extend(
        _file(f"home/accueil/Numérisations/scan {n:04d}.jpg".encode(), 200_000 + n, at, 1)
        for n in range(450)
    )
    found.append(_file(b"home/accueil/nom \xff pas utf-8.txt", 12, at, 1))
    found.append(_file(b"home/accueil/Agenda.ods", 40_000, at, 1))
    return found


def _folder(path: bytes, at: datetime) -> Entry:
    return Entry(path, EntryKind.FOLDER, 0, int(at.timestamp() * 1e9), 0o40755)


def _file(path: bytes, size: int, at: datetime, number: int) -> Entry:
    chunk = sha256(path + str(number).encode()).digest() + size.to_bytes(4, "little")
    return Entry(
        path,
        EntryKind.FILE,
        size,
        int(at.timestamp() * 1e9),
        0o100644,
        1000,
        1000,
        "a",
        "a",
        chunks=chunk,
    )
