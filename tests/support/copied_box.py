"""A small box that was copied to a disk every night, with real Borg; and the fire."""

import hashlib
import os
import random
import subprocess
import sys
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from appliance.catalogue import store
from appliance.db import facts, repositories, secrets, sources, targets
from appliance.db.engine import open_database
from appliance.model import SourceId, SourceKind
from appliance.replication import kit, moment, push, state
from appliance.replication.manifest import CopiedRepository
from appliance.replication.recover import Line
from appliance.replication.recover_choice import Look, look
from appliance.replication.targets.directory import DirectoryTarget, DiskLabel, write_label
from appliance.settings import Settings
from appliance.vault import words
from appliance.vault.seal import make_keys, seal
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal

BORG = str(Path(sys.executable).parent / "borg")
TODAY = date(2026, 11, 23)
NIGHT = datetime(2026, 11, 22, 3, tzinfo=UTC)
FIRE = datetime(2026, 11, 24, 8, tzinfo=UTC)
BOX = "box-1"
SEGMENT = 128 * 1024


def borg(home: Path, passphrase: str, *arguments: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [BORG, *arguments],
        env={
            "PATH": os.environ["PATH"],
            "BORG_PASSPHRASE": passphrase,
            "BORG_BASE_DIR": str(home),
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "no",
            "LC_ALL": "C.UTF-8",
        },
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tree_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def open_disk(disk: Path, box_id: str = BOX) -> DirectoryTarget:
    return DirectoryTarget(disk, disk_id="disk-1", box_id=box_id, today=TODAY)


class CopiedBox:
    """Two sources and the state, three repositories; ``night`` copies them to the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(data=folder / "data")
        self.settings.data.mkdir(parents=True)
        self.disk = folder / "disk"
        self.disk.mkdir()
        write_label(self.disk, DiskLabel("disk-1", BOX, "Lundi", TODAY))
        make_keys(self.settings.keys)
        self.database = open_database(self.settings.database, create=True)
        self.random = random.Random(3)
        self.archives: dict[int, list[str]] = {1: [], 2: []}
        self.now = NIGHT
        with self.database.write() as connection:
            facts.put(connection, "box.id", BOX, now=NIGHT)
            kit.make(connection, self.settings.keys, now=NIGHT)
            self.recipient = str(facts.find(connection, "kit.recipient"))
            self.target_id = targets.add(
                connection, name="disque", label="Disque", kind="directory", place={}, now=NIGHT
            ).id
        with self.database.read() as connection:
            sealed = secrets.get_sealed(connection, kit.SECRET)
            self.words = unseal(kit.SECRET, sealed, self.settings.keys)
            self.signing_key = kit.signing_key(connection, self.settings.keys)
        self.identity = words.identity(self.words)
        self.signer = self.signing_key.public_key()
        self.trees = {number: folder / f"tree-{number}" for number in (1, 2)}
        self.settings.catalogues.mkdir()
        for number, kind in ((1, SourceKind.PULLED), (2, SourceKind.SHARE)):
            self.trees[number].mkdir()
            self._source(number, kind)
            store.of_source(self.settings, SourceId(number), create=True)
        self._repository(0)
        state.seal_passphrase(self.repository(0), Secret(b"pass-0"), self.recipient)

    def repository(self, number: int) -> Path:
        return self.settings.repositories / str(number)

    def borg(self, number: int, *arguments: str, cwd: Path | None = None) -> str:
        return borg(self.settings.borg_home, f"pass-{number}", *arguments, cwd=cwd)

    def _repository(self, number: int) -> str:
        place = str(self.repository(number))
        self.settings.repositories.mkdir(exist_ok=True)
        self.borg(number, "init", "-e", "repokey-blake2", place)
        self.borg(number, "config", place, "max_segment_size", str(SEGMENT))
        return self.borg(number, "config", place, "id").strip()

    def _source(self, number: int, kind: SourceKind) -> None:
        identity = self._repository(number)
        with self.database.write() as connection:
            one = sources.add(
                connection,
                name=f"source-{number}",
                label=f"Source {number}",
                kind=kind,
                roots=("/x",),
                now=NIGHT,
            )
            assert one.id == number
            repositories.add(
                connection,
                one.id,
                path=str(self.repository(number)),
                borg_id=identity,
                now=NIGHT,
            )
            secrets.put_sealed(
                connection,
                f"repository:{number}:passphrase",
                seal(Secret(f"pass-{number}".encode()), self.settings.keys),
                now=NIGHT,
            )

    def night(self) -> push.Pushed:
        """Write new documents, take snapshots, stage the state, and push one moment of all."""
        archive = f"{len(self.archives[1]) + 1:02d}"
        for number, tree in self.trees.items():
            for place in range(4):
                (tree / f"{archive}-{place}.pdf").write_bytes(self.random.randbytes(50_000))
            self.borg(
                number,
                "create",
                "-C",
                "none",
                f"{self.repository(number)}::{archive}",
                ".",
                cwd=tree,
            )
            self.archives[number].append(archive)
        staged = self.folder / "staged"
        state.stage(self.settings, self.database, staged, self.recipient, now=self.now)
        self.borg(0, "create", f"{self.repository(0)}::state-{archive}", ".", cwd=staged)
        pushed = self.push()
        self.now += timedelta(days=1)
        return pushed

    def push(self) -> push.Pushed:
        return push_box(self.settings, self.database, self.target_id, self, self.now)


def push_box(settings, database, target_id, box: CopiedBox, now: datetime) -> push.Pushed:
    """Push a moment of the box in ``settings``: the old one or the one that was recovered."""
    into = settings.data / "moment"
    found, known = [], []
    for number in (0, 1, 2):
        place = settings.repositories / str(number)
        found += moment.freeze(place, number, into / str(number), locked=nullcontext)
        identity = next(
            line.split("=")[1].strip()
            for line in (place / "config").read_text().splitlines()
            if line.startswith("id =")
        )
        kind = {0: "state", 1: "pulled", 2: "share"}[number]
        known.append(CopiedRepository(number, identity, f"r{number}", f"Dépôt {number}", kind))
    found += state.freeze_passphrase(settings.repositories / "0", into / "0")
    return push.push(
        database,
        target_id,
        box=push.Box(BOX, box.recipient, box.signing_key),
        moment=push.Moment(now, into, tuple(found), tuple(known)),
        line=push.Line(lambda: open_disk(box.disk)),
        spool=settings.data / "spool",
        now=lambda: now,
    )


def look_at(
    box: CopiedBox, disk: Path, *, name: str = "disque", identity=None, known_bad=()
) -> Look:
    return look(
        name,
        open_disk(disk),
        signer=box.signer,
        box_id=BOX,
        identity=identity or box.identity,
        known_bad=known_bad,
    )


def line_to(**disks: Path) -> Line:
    openers = {name: (lambda disk=disk: open_disk(disk)) for name, disk in disks.items()}
    return Line(openers, connections=2)
