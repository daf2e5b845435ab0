"""A small box with real nights, pushed to a disk by the library: what a drill begins from."""

import random
import shutil
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from appliance.clock import utc_now
from appliance.db import facts, repositories, targets
from appliance.db.engine import open_database
from appliance.jobs import queue
from appliance.model import Job
from appliance.replication import kit, moment, push, state
from appliance.replication.manifest import CopiedRepository
from appliance.replication.targets.directory import DirectoryTarget, DiskLabel, write_label
from appliance.vault.secret import Secret
from tests.support.box import Box
from tests.support.copied_box import borg

BOX_ID = "0123456789abcdef"
DISK_ID = "d15c" * 8


class DrilledBox(Box):
    """Two shares with documents; ``push`` copies everything to the disk. ``words`` are the one sheet."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "data", segment_bytes=1 << 20)
        self.folder = folder
        self.disk = folder / "disk"
        self.disk.mkdir()
        self.dice = random.Random(5)
        now = utc_now()
        write_label(self.disk, DiskLabel(DISK_ID, BOX_ID, "Lundi", now.date()))
        with self.database.write() as connection:
            facts.put(connection, "box.id", BOX_ID, now=now)
            kit.make(connection, self.settings.keys, now=now)
            self.recipient = str(facts.find(connection, "kit.recipient"))
            (sheet,) = kit.split(
                connection, self.settings.keys, needed=1, holders=["Dr Roux"], now=now
            )
            self.words = " ".join(sheet.words)
            kit.confirm(connection, [self.words], now=now)
            self.signing_key = kit.signing_key(connection, self.settings.keys)
            place = {"disk_id": DISK_ID, "folder": str(self.disk)}
            self.target = targets.add(
                connection, name="disque", label="Disque", kind="directory", place=place, now=now
            )
        self.shares = []
        for name in ("partage", "imagerie"):
            tree = folder / name
            tree.mkdir()
            self.shares.append(self.add_share(tree, name))
        self._make_state()

    def _make_state(self) -> None:
        place = self.settings.repositories / "0"
        borg(self.settings.borg_home, "pass-0", "init", "-e", "repokey-blake2", str(place))
        state.seal_passphrase(place, Secret(b"pass-0"), self.recipient)

    def work(self, files: int = 6, size: int = 300_000) -> None:
        """Write documents into both shares and take a snapshot of each."""
        for share in self.shares:
            tree = Path(share.roots[0])
            for _ in range(files):
                name = f"{self.dice.randrange(1 << 32):08x}.pdf"
                (tree / name).write_bytes(self.dice.randbytes(size))
            self.take(share)

    def push(self, now: datetime | None = None) -> push.Pushed:
        """Stage the state and push one moment of all."""
        now = now or utc_now()
        settings = self.settings
        staged = self.folder / "staged"
        state.stage(settings, self.database, staged, self.recipient, now=now)
        home = settings.borg_home
        place = settings.repositories / "0"
        borg(home, "pass-0", "create", f"{place}::s{now:%H%M%S%f}", ".", cwd=staged)
        into = settings.data / "moment"
        found, known = [], []
        for number in (0, *(each.id for each in self.shares)):
            place = settings.repositories / str(number)
            found += moment.freeze(place, number, into / str(number), locked=nullcontext)
            identity = next(
                line.split("=")[1].strip()
                for line in (place / "config").read_text().splitlines()
                if line.startswith("id =")
            )
            kind = "share" if number else "state"
            known.append(CopiedRepository(number, identity, f"r{number}", f"Dépôt {number}", kind))
        found += state.freeze_passphrase(settings.repositories / "0", into / "0")
        return push.push(
            self.database,
            self.target.id,
            box=push.Box(BOX_ID, self.recipient, self.signing_key),
            moment=push.Moment(now, into, tuple(found), tuple(known)),
            line=push.Line(self.open_disk),
            spool=settings.data / "spool",
            now=lambda: now,
        )

    def copy_to(self, folder: Path) -> "DrilledBox":
        """Return the same box in another folder; for reading and drills, its next night is not tried."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        copy = DrilledBox.__new__(DrilledBox)
        copy.__dict__.update(self.__dict__, folder=folder, disk=folder / "disk")
        copy.settings = replace(self.settings, data=folder / "data")
        copy.database = open_database(copy.settings.database)
        with copy.database.write() as connection:
            for share in self.shares:
                place = str(copy.settings.repositories / str(share.id))
                repositories.change(connection, share.id, path=place)
            place = {"disk_id": DISK_ID, "folder": str(copy.disk)}
            targets.change(connection, self.target.id, place=place)
        return copy

    def open_disk(self) -> DirectoryTarget:
        return DirectoryTarget(self.disk, disk_id=DISK_ID, box_id=BOX_ID, today=utc_now().date())

    def nonces(self) -> dict[str, str]:
        return {
            each.parent.name: each.read_text()
            for each in self.settings.repositories.glob("*/nonce")
        }

    def job(self, job_id: int) -> Job:
        with self.database.read() as connection:
            return queue.get(connection, job_id)
