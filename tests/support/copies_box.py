"""A small whole box with a share, its own state and places for copies; everything through the real jobs."""

import os
import random
import subprocess
import sys
from datetime import date
from pathlib import Path

from appliance.clock import utc_now
from appliance.db import copies, facts, sources, targets
from appliance.jobs import copy_readings, target_setup
from appliance.jobs.kinds import PushCopy, SetUpSource, SetUpTarget, VerifyCopy
from appliance.ledger import proofs
from appliance.model import BOX_SOURCE, JobState, Source
from appliance.policy.hosting import Nature
from appliance.policy.place import BoxPlace, DirectoryPlace, S3Place, SftpPlace
from appliance.replication import fetch, kit
from appliance.replication.kit import SECRET
from appliance.replication.manifest import Manifest
from appliance.replication.open_target import open_target
from appliance.replication.targets.directory import DiskLabel, write_label
from appliance.replication.targets.s3 import S3Account, S3Target
from appliance.vault import words
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal
from appliance.worker import box_source
from tests.support.box import Box
from tests.support.receiver import Receiver
from tests.support.s3 import ACCESS_KEY, SECRET_KEY
from tests.support.sshd import SshServer, make_key

DISK_ID = "ab" * 16


class CopiesBox(Box):
    """A share of a few files; ``night`` changes some and takes both snapshots."""

    def __init__(self, folder: Path, **settings: object) -> None:
        super().__init__(folder / "data", **{"segment_bytes": 1024 * 1024, **settings})
        self.folder = folder
        self.random = random.Random(11)
        self.papers = folder / "papers"
        self.papers.mkdir()
        with self.database.write() as connection:
            facts.put(connection, "box.id", "box-1", now=utc_now())
        box_source.ensure(self.settings, self.database, utc_now())
        assert self.run(SetUpSource(BOX_SOURCE)) is JobState.SUCCEEDED
        self.share = self.add_share(self.papers)
        self.night()

    @property
    def state(self) -> Source:
        with self.database.read() as connection:
            return sources.get(connection, BOX_SOURCE)

    def work(self, files: int = 6) -> None:
        for _ in range(files):
            name = f"letter-{self.random.randrange(30)}"
            (self.papers / name).write_bytes(self.random.randbytes(300_000))

    def night(self) -> None:
        self.work()
        self.take(self.share)
        self.take(self.state)

    def confirm_kit(self) -> None:
        """Say that a person typed the words; the secret stays, for the test to open copies with."""
        with self.database.write() as connection:
            facts.put(connection, "kit.confirmed_at", utc_now().isoformat(), now=utc_now())

    # --- places ---

    def add_target(self, name: str, kind: str, place, *, nature=None, **secrets):
        with self.database.write() as connection:
            row = target_setup.add_target(
                connection, self.settings, name=name, label=name.title(), kind=kind, place=place,
                nature=nature or Nature.SAME_PRACTICE_ELSEWHERE, distance_km=7, secrets=secrets,
                person=None, now=utc_now(),
            )  # fmt: skip
        assert self.run(SetUpTarget(row.id)) is JobState.SUCCEEDED
        offered = self.row(row).facts.get("offered_host_key")
        if offered:
            with self.database.write() as connection:
                target_setup.confirm_host_key(
                    connection, row.id, offered["host_key"], person=None, now=utc_now()
                )
        return self.row(row)

    def add_disk(self, folder: Path, name: str = "disque", disk_id: str = DISK_ID, **more):
        folder.mkdir(exist_ok=True)
        write_label(folder, DiskLabel(disk_id, "box-1", name, date(2026, 1, 1)))
        return self.add_target(name, "directory", DirectoryPlace(disk_id, str(folder), **more))

    def add_sftp(self, sshd: SshServer, folder: Path, name: str = "hote", **more):
        folder.mkdir(exist_ok=True)
        path = self.folder / f"key-{name}"
        sshd.authorize(make_key(path))
        place = SftpPlace(sshd.host, sshd.user, sshd.port, str(folder), connections=2)
        return self.add_target(name, "sftp", place, key=Secret(path.read_bytes()), **more)

    def add_box(self, receiver: Receiver, name: str = "second"):
        place = BoxPlace("127.0.0.1", "cabinet", receiver.port, connections=2)
        return self.add_target(name, "box", place, key=receiver.keys["cabinet"])

    def add_bucket(self, server, bucket: str, *, lock_days: int = 0, name: str = "seau"):
        owner = S3Target(
            S3Account(server.endpoint, bucket, ACCESS_KEY, Secret(SECRET_KEY.encode()))
        )
        owner.client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=bool(lock_days))
        owner.close()
        place = S3Place(
            server.endpoint, "est", bucket, lock_mode="COMPLIANCE" if lock_days else "",
            lock_days=lock_days, connections=2,
        )  # fmt: skip
        return self.add_target(name, "s3", place, s3=target_setup.s3_secret(ACCESS_KEY, SECRET_KEY))

    # --- copies ---

    def push(self, row) -> JobState:
        return self.run(PushCopy(row.id))

    def verify(self, row, *, full: bool = False) -> JobState:
        return self.run(VerifyCopy(row.id, full=full))

    def row(self, row):
        with self.database.read() as connection:
            return targets.get(connection, row.id)

    def target(self, row):
        with self.database.read() as connection:
            return open_target(connection, self.row(row), self.settings, now=utc_now)()

    def proof(self, row, kind):
        with self.database.read() as connection:
            return proofs.latest_of_target(connection, row.id, kind)

    def status(self, row, now=None):
        with self.database.read() as connection:
            return copy_readings.copy_status(
                connection, self.settings, self.row(row), now or utc_now()
            )

    def findings(self, now=None):
        with self.database.read() as connection:
            found = copy_readings.copy_findings(connection, self.settings, now or utc_now())
        return {each.code: each for each in found}

    def objects(self, row):
        with self.database.read() as connection:
            return copies.stored(connection, row.id)

    def kept(self, row):
        with self.database.read() as connection:
            return [each.number for each in copies.kept(connection, row.id)]

    # --- with the sheets ---

    @property
    def identity(self) -> Secret:
        with self.database.read() as connection:
            from appliance.db import secrets

            sealed = secrets.get_sealed(connection, SECRET)
        return words.identity(unseal(SECRET, sealed, self.settings.keys))

    @property
    def signer(self):
        with self.database.read() as connection:
            return kit.signing_key(connection, self.settings.keys).public_key()

    def newest_manifest(self, row) -> Manifest:
        target = self.target(row)
        try:
            survey = fetch.survey(target, signer=self.signer, box_id="box-1")
            return fetch.open_generation(
                target, survey.generations[0], identity=self.identity, signer=self.signer
            )
        finally:
            target.close()

    def bring_back(self, row, source: Source, place: Path) -> set[str]:
        """Fetch a repository from the newest generation; return the archives plain Borg finds in it."""
        manifest = self.newest_manifest(row)
        target = self.target(row)
        try:
            fetch.fetch_repository(target, manifest, source.id, place, identity=self.identity)
        finally:
            target.close()
        # A home of its own: the box's remembers where its repository lies and how far it is.
        home = place.with_name(f"{place.name}-home")
        assert self._plain(source, home, "check", str(place)) == ""
        return set(self._plain(source, home, "list", "--short", str(place)).split())

    def _plain(self, source: Source, home: Path, *argv: str) -> str:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "borg"), *argv],
            env={
                "PATH": os.environ["PATH"],
                "BORG_BASE_DIR": str(home),
                "BORG_PASSPHRASE": self.passphrase(source).reveal().decode(),
                "LC_ALL": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def archives(self, source: Source) -> set[str]:
        return {each.archive for each in self.snapshots(source)}
