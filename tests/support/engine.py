"""What tests of the engine share: a repository, a machine, a night that keeps what it was told."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from appliance.backup_jobs import borg_library as library
from appliance.backup_jobs.borg_library import Mode
from appliance.backup_jobs.borg_library_items import unpack_chunks
from appliance.backup_jobs.sources import Taken
from appliance.backup_jobs.sources.pulled import PullOptions, pull
from appliance.backup_jobs.ssh import Endpoint, make_key
from appliance.model import Entry, EntryKind, Source, SourceId, SourceKind, System
from appliance.vault.secret import Secret
from tests.support.sshd import SshServer

BORG = str(Path(sys.executable).with_name("borg"))
PASSPHRASE = Secret(b"a passphrase")


@dataclass
class Listing:
    """A night: what changed, kept."""

    put_: dict[bytes, Entry] = field(default_factory=dict)
    gone_: list[bytes] = field(default_factory=list)

    def put(self, entry: Entry) -> None:
        assert entry.path not in self.put_, "put twice"
        self.put_[entry.path] = entry

    def gone(self, path: bytes) -> None:
        self.gone_.append(path)


@dataclass
class Context:
    """A job's context: keeps the last report, stops when told."""

    stop_after_reports: int | None = None
    reports: list[tuple[int, int | None, int | None, str | None]] = field(default_factory=list)

    def report(self, done, total=None, unit="bytes", *, files=None, step=None) -> None:
        self.reports.append((done, total, files, step))

    def should_stop(self) -> bool:
        return self.stop_after_reports is not None and len(self.reports) > self.stop_after_reports


@dataclass
class Box:
    """One repository and what was taken into it."""

    folder: Path
    repository: Path
    home: Path
    newest: str | None = None  # id of the newest archive
    count: int = 0
    #: What a catalogue would hold: applied puts and gones.
    catalogue: dict[bytes, Entry] = field(default_factory=dict)

    def take(
        self,
        connection: object,
        roots: tuple[str, ...],
        *,
        options: PullOptions | None = None,
        context: Context | None = None,
        excludes: tuple[str, ...] = (),
        system: System = System.LINUX,
        **more: object,
    ) -> tuple[Taken, Listing]:
        """One night."""
        source = Source(
            id=SourceId(1),
            name="poste",
            label="Poste",
            kind=SourceKind.PULLED,
            created_at=datetime.now(UTC),
            roots=roots,
            excludes=excludes,
            system=system,
        )
        night = Listing()
        self.count += 1
        with self.open(Mode.WRITE) as repository:
            taken = pull(
                source,
                connection,
                repository,
                night,
                context or Context(),
                archive=f"1-{self.count}",
                comment=json.dumps({"run": self.count}),
                previous=self.newest,
                options=options or PullOptions(default_excludes=False, racy_s=-1e9),
                **more,
            )
        self.newest = taken.archive_id
        self.catalogue.update(night.put_)
        for path in night.gone_:
            del self.catalogue[path]
        return taken, night

    def open(self, mode: Mode = Mode.READ):
        return library.open_repository(
            self.repository, PASSPHRASE, self.home, mode=mode, lock_wait_s=5.0
        )

    def entries(self) -> dict[bytes, Entry]:
        """The newest archive, as it lies in the repository."""
        with self.open() as repository:
            return {each.path: each for each in repository.entries(self.newest)}

    def content(self, path: bytes) -> bytes:
        """The bytes of a file of the newest archive."""
        with self.open() as repository:
            entry = next(e for e in repository.entries(self.newest) if e.path == path)
            return b"".join(repository.fetch(i for i, _ in unpack_chunks(entry.chunks)))

    def archives(self, *, checkpoints: bool = True) -> list[str]:
        with self.open() as repository:
            return [each.name for each in repository.archives(checkpoints=checkpoints)]

    def borg(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run plain Borg; it must find everything in order."""
        done = subprocess.run(
            [BORG, *arguments],
            cwd=cwd,
            env={
                "PATH": os.environ["PATH"],
                "BORG_BASE_DIR": str(self.home),
                "BORG_PASSPHRASE": PASSPHRASE.reveal().decode(),
                "BORG_EXIT_CODES": "modern",
                "LC_ALL": "C.UTF-8",
            },
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.returncode, done.stderr.decode())
        return done.stdout.decode()

    def check(self) -> None:
        """Every promise plain Borg can verify, and ours: the catalogue equals the archive."""
        self.borg("check", "--verify-data", str(self.repository))
        found = self.entries()
        assert set(found) == set(self.catalogue)
        for path, entry in found.items():
            kept = self.catalogue[path]
            assert (kept.kind, kept.size, kept.mtime_ns, kept.mode, kept.target, kept.chunks) == (
                entry.kind,
                entry.size if entry.kind is EntryKind.FILE else 0,
                entry.mtime_ns,
                entry.mode,
                entry.target,
                entry.chunks,
            ), path

    def extract(self, archive: str, *options: str) -> Path:
        """Restore a whole archive with plain Borg."""
        place = self.folder / f"restored-{archive}"
        place.mkdir()
        self.borg("extract", *options, f"{self.repository}::{archive}", cwd=place)
        return place


def new_box(folder: Path) -> Box:
    """A box with an empty repository."""
    box = Box(folder, folder / "repository", folder / "home")
    library.create_repository(box.repository, PASSPHRASE, box.home)
    return box


def endpoint_of(server: SshServer, *, port: int | None = None) -> Endpoint:
    """Let a new key in, and say where the machine is."""
    key, public = make_key()
    server.authorize(public)
    return Endpoint(server.host, port or server.port, server.user, server.host_key, key)


Connection = Callable[[], object] | Endpoint
