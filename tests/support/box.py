"""A whole box in a folder: real database, keys, repositories, catalogues; jobs run here or apart."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from appliance.backup_jobs import vault_access
from appliance.backup_jobs.borg_library import open_repository
from appliance.catalogue import query, rebuild, store
from appliance.clock import utc_now
from appliance.db import repositories, snapshots, sources
from appliance.db.engine import Database, open_database
from appliance.errors import ArmoireError, JobCancelled
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import SetUpSource, Spec, TakeSnapshot, VerifySnapshot, from_json
from appliance.model import JobState, Plan, Snapshot, Source, SourceKind
from appliance.settings import Settings
from appliance.vault.seal import make_keys
from appliance.worker import wiring
from tests.support.sshd import SshServer

ROOT = Path(__file__).parents[2]


class Box:
    """What a test needs of a box; ``close`` it."""

    def __init__(self, data: Path, **settings: object) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.settings = replace(
            Settings(data=data.absolute()), free_bytes_floor=1, check_seconds=5, **settings
        )
        make_keys(self.settings.keys)
        self.database: Database = open_database(self.settings.database, create=True)

    def close(self) -> None:
        self.database.close()

    # --- sources ---

    def add_share(self, folder: Path, name: str = "documents", **values: object) -> Source:
        """A share with its repository ready."""
        with self.database.write() as connection:
            source = sources.add(
                connection,
                name=name,
                label=name.title(),
                kind=SourceKind.SHARE,
                roots=(str(folder),),
                now=utc_now(),
                **values,
            )
        assert self.run(SetUpSource(source.id)) is JobState.SUCCEEDED
        return source

    def add_machine(
        self, sshd: SshServer, folder: Path, name: str = "accueil", **values: object
    ) -> Source:
        """A machine behind a real OpenSSH server, its key let in and its host key pinned."""
        with self.database.write() as connection:
            source = sources.add(
                connection,
                name=name,
                label=name.title(),
                kind=SourceKind.PULLED,
                roots=(str(folder),),
                host=sshd.host,
                port=sshd.port,
                user=sshd.user,
                now=utc_now(),
                **values,
            )
            sources.change(connection, source.id, host_key=sshd.host_key)
        assert self.run(SetUpSource(source.id)) is JobState.SUCCEEDED
        with self.database.read() as connection:
            sshd.authorize(str(sources.facts(connection, source.id)["public_key"]))
        return self.source(source)

    def source(self, source: Source) -> Source:
        with self.database.read() as connection:
            return sources.get(connection, source.id)

    def change_plan(self, source: Source, **values: object) -> None:
        plan: Plan = replace(self.source(source).plan, **values)
        with self.database.write() as connection:
            sources.change(connection, source.id, plan=plan)

    # --- jobs ---

    def queue(self, spec: Spec) -> int:
        """Queue and claim a job; return its id."""
        now = utc_now()
        with self.database.write() as connection:
            waiting = [job for job in queue.waiting(connection) if job.state is JobState.QUEUED]
            same = [job for job in waiting if from_json(job.kind, job.spec) == spec]
            job_id = same[0].id if same else queue.enqueue(connection, spec, now=now)
        with self.database.write() as connection:
            claimed = queue.claim(
                connection, runner=f"test:{os.getpid()}", now=utc_now(), only=job_id
            )
        assert claimed is not None
        return job_id

    def run(self, spec: Spec) -> JobState:
        """Run a job in this process and end it as the worker would; its error is raised."""
        job_id = self.queue(spec)
        with self.database.read() as connection:
            job = queue.get(connection, job_id)
        context = JobContext(self.settings, self.database, job)
        state, failure = JobState.FAILED, None
        try:
            with context:
                state = wiring.runs()[spec.kind](context, spec)
        except JobCancelled:
            state = JobState.CANCELLED
            raise
        except ArmoireError as error:
            failure = error
            raise
        finally:
            with self.database.write() as connection:
                queue.finish(
                    connection, job_id, state, now=utc_now(), result=context.result, error=failure
                )
        return state

    def run_without_privileges(self, spec: Spec) -> None:
        """Run a job to its end in a process that may not read what its user may not, even for root."""
        prefix = ()
        if os.geteuid() == 0:
            prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
        _, process = self.start(spec, prefix=prefix)
        process.wait(60)

    def start(
        self,
        spec: Spec,
        *,
        prefix: tuple[str, ...] = (),
        module: tuple[str, ...] = ("appliance.worker.job_main",),
        **environment: str,
    ) -> "tuple[int, subprocess.Popen[bytes]]":
        """Start a job in a process of its own, as the worker does; return its id and the process."""
        job_id = self.queue(spec)
        process = subprocess.Popen(
            [
                *prefix,
                sys.executable,
                "-m",
                *module,
                "--data",
                str(self.settings.data),
                str(job_id),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "ARMOIRE_FREE_BYTES_FLOOR": "1",
                "ARMOIRE_CHECK_SECONDS": "5",
                **environment,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return job_id, process

    def interrupt_all(self) -> None:
        """What the worker does about jobs whose process died; nothing is queued again."""
        with self.database.write() as connection:
            connection.exec_driver_sql(
                "UPDATE job SET state = 'interrupted', finished_at = beat_at WHERE state = 'running'"
            )
            connection.exec_driver_sql("DELETE FROM job_note")
            connection.exec_driver_sql("DELETE FROM job WHERE state = 'queued'")

    def night(self, source: Source) -> Snapshot:
        """Take a snapshot, prove it, return it."""
        self.take(source)
        newest = self.newest(source)
        self.run(VerifySnapshot(source.id, newest.id))
        return newest

    def take(self, source: Source) -> JobState:
        return self.run(TakeSnapshot(source.id))

    # --- what there is ---

    def snapshots(self, source: Source, **options: bool) -> list[Snapshot]:
        with self.database.read() as connection:
            return snapshots.of_source(connection, source.id, **options)

    def newest(self, source: Source) -> Snapshot:
        return self.snapshots(source)[0]

    def catalogue(self, source: Source) -> store.Catalogue:
        return store.of_source(self.settings, source.id)

    def passphrase(self, source: Source):
        with self.database.read() as connection:
            return vault_access.repository_passphrase(connection, self.settings, source.id)

    def repository_path(self, source: Source) -> Path:
        with self.database.read() as connection:
            return Path(repositories.get(connection, source.id).path)

    def open(self, source: Source, **options: object):
        return open_repository(
            self.repository_path(source),
            self.passphrase(source),
            self.settings.borg_home,
            **options,
        )

    def borg(self, source: Source, *argv: str, cwd: Path | None = None):
        """Run the plain `borg` program, as a person with the passphrase could."""
        return subprocess.run(
            [str(Path(sys.executable).parent / "borg"), *argv],
            cwd=cwd,
            env={
                "PATH": os.environ["PATH"],
                "BORG_BASE_DIR": str(self.settings.borg_home),
                "BORG_PASSPHRASE": self.passphrase(source).reveal().decode(),
                "BORG_EXIT_CODES": "modern",
                "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
                "LC_ALL": "C.UTF-8",
            },
            capture_output=True,
            check=False,
        )

    def backdate(self, snapshot: Snapshot, at: datetime) -> None:
        """Say that a snapshot was taken at another time, in the list."""
        with self.database.write() as connection:
            connection.exec_driver_sql(
                "UPDATE snapshot SET started_at = ? WHERE id = ?",
                (at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), snapshot.id),
            )

    def assert_agreement(self, source: Source) -> None:
        """Repository, list and catalogue say the same; every listed snapshot can be read whole."""
        rows = self.snapshots(source)
        catalogue = self.catalogue(source)
        assert catalogue.known_snapshots() == [row.id for row in rows]
        again = self.settings.data / "again" / f"{source.id}.sqlite"
        again.parent.mkdir(exist_ok=True)
        again.unlink(missing_ok=True)
        with self.open(source) as repository:
            assert {one.id for one in repository.archives()} == {row.archive_id for row in rows}
            for row in rows:
                for entry in repository.entries(row.archive_id):
                    ids = [entry.chunks[at : at + 32] for at in range(0, len(entry.chunks), 36)]
                    assert sum(map(len, repository.fetch(ids))) == entry.size
            rebuild.rebuild(
                again,
                [
                    (row.id, row.started_at, list(repository.entries(row.archive_id)))
                    for row in reversed(rows)
                ],
            )
        assert list(rebuild.canonical_lines(catalogue.path)) == list(rebuild.canonical_lines(again))

    def paths(self, source: Source, snapshot: Snapshot) -> set[bytes]:
        return {entry.path for entry in query.walk(self.catalogue(source), snapshot.id)}
