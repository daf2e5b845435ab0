"""Every kind of place a copy can lie at, real, and a small practice that is copied there."""

import itertools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.db import targets
from appliance.db.engine import Database, open_database
from appliance.replication import fetch, manifest, plan, push
from appliance.replication.target import Target
from appliance.replication.targets.directory import DirectoryTarget, DiskLabel, write_label
from appliance.replication.targets.s3 import S3Account, S3Target
from appliance.replication.targets.sftp import SftpAccount, SftpTarget
from appliance.vault import words
from appliance.vault.secret import Secret
from tests.support import kill_lines
from tests.support.receiver import Receiver
from tests.support.s3 import ACCESS_KEY, SECRET_KEY
from tests.support.sshd import SshServer, make_key

KINDS = ("directory", "sftp", "box", "s3")
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
TODAY = date(2026, 11, 23)
SECRET = Secret(bytes(range(16)))
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
BOX = push.Box("box-1", words.recipient(SECRET), KEY)
IDENTITY = words.identity(SECRET)
_buckets = itertools.count()


@dataclass
class Place:
    """A real place; ``open`` makes a connection of the caller's own, in whatever process."""

    kind: str
    open: Callable[[], Target]
    #: Where its port can be put behind a line of the test's own; ``open_at(port)``.
    port: int = 0
    open_at: Callable[[int], Target] = field(default=lambda _port: None)  # type: ignore[assignment,return-value]
    server: object = None
    root: Path = Path()


@contextmanager
def place_of(kind: str, folder: Path, s3_server: object = None) -> Iterator[Place]:
    """Yield an empty place of this kind; ended and removed with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "directory":
        root = folder / "disk"
        root.mkdir()
        write_label(root, DiskLabel("disk-1", BOX.box_id, "Lundi", TODAY))
        yield Place(
            kind,
            lambda: DirectoryTarget(root, disk_id="disk-1", box_id=BOX.box_id, today=TODAY),
            root=root,
        )
    elif kind == "sftp":
        with sftp_place(folder) as place:
            yield place
    elif kind == "box":
        receiver = Receiver(folder)
        receiver.start_process()
        try:
            yield Place(
                kind,
                receiver.target,
                port=receiver.port,
                open_at=lambda port: receiver.target(port=port),
                server=receiver,
                root=receiver.place(),
            )
        finally:
            for each in receiver.opened:
                each.close()
            receiver.stop()
    else:
        yield s3_place(s3_server)


@contextmanager
def sftp_place(folder: Path, *, config: str = "", **account: object) -> Iterator[Place]:
    """Yield a folder of a real OpenSSH server whose account has no shell."""
    root = folder / "host"
    root.mkdir(parents=True)
    public = make_key(folder / "id")
    key = Secret((folder / "id").read_bytes())
    with SshServer(config=config or "ForceCommand internal-sftp") as server:
        server.authorize(public)

        def open_at(port: int) -> SftpTarget:
            values: dict[str, object] = {"folder": str(root), "private_key": key, **account}
            return SftpTarget(
                SftpAccount(server.host, port, server.user, server.host_key, **values)  # type: ignore[arg-type]
            )

        yield Place(
            "sftp",
            lambda: open_at(server.port),
            port=server.port,
            open_at=open_at,
            server=server,
            root=root,
        )


def s3_place(server: object, *, locked: bool = True, **more: object) -> Place:
    """Return a new bucket of a real gateway; more words go to S3Target."""
    bucket = f"copy-{os.getpid()}-{next(_buckets)}"
    port = server.port  # type: ignore[attr-defined]

    def open_at(port: int) -> S3Target:
        return S3Target(
            S3Account(f"http://127.0.0.1:{port}", bucket, ACCESS_KEY, Secret(SECRET_KEY.encode())),
            **more,  # type: ignore[arg-type]
        )

    target = open_at(port)
    target.client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=locked)
    target.close()
    return Place("s3", lambda: open_at(port), port=port, open_at=open_at, server=server)


class Practice:
    """Committed files of one repository that grow night by night, and the box's record of what it sent.

    Not Borg's: what a push and a host do to files does not depend on what is in them.
    """

    def __init__(self, folder: Path, *, seed: int = 31) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.url = f"sqlite:///{folder / 'state.sqlite'}"
        self.data = folder / "moment" / "1" / "data" / "0"
        self.data.mkdir(parents=True, exist_ok=True)
        self.random = random.Random(seed)
        self.next = 0
        with self.database() as database, database.write() as connection:
            known = targets.all_living(connection)
            self.target_id = (
                known[0].id
                if known
                else targets.add(
                    connection, name="lieu", label="Lieu", kind="sftp", place={}, now=NOW
                ).id
            )

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Yield the record, opened by this process."""
        database = open_database(self.url, create=True)
        try:
            yield database
        finally:
            database.close()

    def night(self, files: int = 4, size: int = 60_000, drop: int = 0) -> None:
        """Write new segments; ``drop`` old ones are compacted away."""
        for path in sorted(self.data.iterdir(), key=lambda each: int(each.name))[:drop]:
            path.unlink()
        for _ in range(files):
            (self.data / str(self.next)).write_bytes(self.random.randbytes(size))
            self.next += 1

    def moment_of_nothing(self) -> push.Moment:
        one = manifest.CopiedRepository(1, "a" * 64, "accueil", "Accueil", "pulled")
        return push.Moment(NOW, self.folder / "moment", (), (one,))

    def moment(self) -> push.Moment:
        found = []
        for path in sorted(self.data.iterdir()):
            facts = path.stat()
            found.append(plan.LocalFile(1, f"data/0/{path.name}", facts.st_size, facts.st_mtime_ns))
        return replace(self.moment_of_nothing(), files=tuple(found))

    def push(self, open_target: Callable[[], Target], **line: object) -> push.Pushed:
        now: Callable[[], datetime] = line.pop("now", lambda: NOW)  # type: ignore[assignment]
        with self.database() as database:
            return push.push(
                database,
                self.target_id,
                box=BOX,
                moment=self.moment(),
                line=push.Line(open_target, **line),  # type: ignore[arg-type]
                spool=self.folder / "spool",
                now=now,
            )

    def contents(self) -> dict[str, bytes]:
        """What is here now: path → bytes."""
        return {f"data/0/{path.name}": path.read_bytes() for path in self.data.iterdir()}


def generations(place: Place, *, signer: Ed25519PrivateKey = KEY) -> list[int]:
    """Return the numbers of the generations a place shows; every one opens and all it names is there."""
    target = place.open()
    try:
        found = fetch.survey(target, signer=signer.public_key(), box_id=BOX.box_id)
        assert found.faults == ()
        for each in found.generations:
            one = fetch.open_generation(target, each, identity=IDENTITY, signer=signer.public_key())
            assert fetch.missing_objects(target, one) == []
        return [each.header.number for each in found.generations]
    finally:
        target.close()


def bring_back(place: Place, number: int, folder: Path) -> dict[str, bytes]:
    """Return every file of a generation, brought back and compared."""
    target = place.open()
    try:
        found = fetch.survey(target, signer=KEY.public_key(), box_id=BOX.box_id)
        (chosen,) = [each for each in found.generations if each.header.number == number]
        one = fetch.open_generation(target, chosen, identity=IDENTITY, signer=KEY.public_key())
        fetch.fetch_repository(target, one, 1, folder, identity=IDENTITY)
    finally:
        target.close()
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- kill -9 at a line -----------------------------------------------------------------------

#: The rooms whose lines are counted.
ROOMS = ("/appliance/replication/", "/appliance/db/copies.py", "/appliance/db/targets.py")


def run_killed(work: Callable[[], object], *, at_line: int = 0) -> tuple[int, int]:
    """As ``kill_lines.run_killed``, for the rooms a copy is made of."""
    return kill_lines.run_killed(work, rooms=ROOMS, at_line=at_line)
