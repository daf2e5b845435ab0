"""Sending one moment of the box to a target: new files sealed and created, then a signed generation.

Safe to run again after a cut at any line:
- an object is recorded before it is sent, and again once it is whole there; a sealed file stays in the spool
  until then, so the same bytes go on;
- a generation is recorded with its hash before it is sent; the next run tells one that arrived from one that
  did not, and from somebody else's under that number.
"""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import __version__
from appliance.db import copies
from appliance.db.copies import CopyObject
from appliance.db.engine import Database
from appliance.db.targets import TargetId
from appliance.errors import JobCancelled, ObjectAlreadyThere
from appliance.replication import manifest as manifests
from appliance.replication.manifest import CopiedFile, CopiedRepository, Manifest
from appliance.replication.plan import LocalFile, SentObject, plan_send
from appliance.replication.sealing import Sealed, seal_file
from appliance.replication.settle import settle_generation
from appliance.replication.target import SealedFile, Target

#: Sealed files waiting to leave, per connection: enough to keep a line busy, little on the disk.
AHEAD: Final = 2
#: Files being sealed while another is recorded, which waits for the disk. Two kept 6 MB more.
SEALERS: Final = 1

#: Nearer than this, more than NEAR_CONNECTIONS only take turns of the processor from each other.
NEAR_S: Final = 0.003
NEAR_CONNECTIONS: Final = 2


@dataclass(frozen=True, slots=True)
class Box:
    """Who sends: what a generation is signed and sealed with."""

    box_id: str
    recipient: str  # age1…, of the recovery sheets
    signing_key: Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Moment:
    """What is sent: the frozen files of every repository."""

    taken_at: datetime
    folder: Path  # <folder>/<source id>/<path>
    files: tuple[LocalFile, ...]
    repositories: tuple[CopiedRepository, ...]


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    number: int
    files: int
    sent_objects: int
    sent_bytes: int  # sealed, the generation's own object included
    reused_objects: int


@dataclass(frozen=True)
class Line:
    """How a push speaks to the outside."""

    open_target: Callable[[], Target]
    connections: int = 1
    on_bytes: Callable[[int], None] = lambda _count: None  # also where a bandwidth limit waits
    on_plan: Callable[[int], None] = lambda _bytes: None
    should_stop: Callable[[], bool] = lambda: False


def push(
    database: Database,
    target_id: TargetId,
    *,
    box: Box,
    moment: Moment,
    line: Line,
    spool: Path,
    now: Callable[[], datetime],
    resend_before: datetime | None = None,
) -> Pushed:
    """Send what the target lacks of ``moment`` and publish it as the next generation.

    Args:
        database: of this box.
        target_id: where to.
        box: identity, recipient and signing key.
        moment: frozen files; they do not change while this runs.
        line: connections and callbacks.
        spool: a folder on the box's disk, of this target's own.
        now: the clock.
        resend_before: objects sealed earlier are sent again, to the sheets that count now (fact
            ``kit.resend-before``).

    Raises:
        TargetIdentityChanged: somebody else published under our identity: another box lives.
        JobCancelled: what was sent stays sent and is not sent again.
        Any TargetError.
    """
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = line.open_target()
    try:
        settled = settle_generation(
            database,
            target_id,
            target,
            box_id=box.box_id,
            signer=box.signing_key.public_key(),
            now=now,
        )
        with database.read() as connection:
            # After a re-key that sends all again, what was sealed to the former kit is not built on.
            known = [
                each
                for each in copies.living(connection, target_id)
                if resend_before is None or each.sealed_at >= resend_before
            ]
        plan = plan_send(
            moment.files,
            [
                SentObject(each.name, _local(each), each.sealed_size)
                for each in known
                if each.put_at
            ],
            listed=None,
        )
        line.on_plan(plan.bytes_to_send)
        by_name = {each.name: each for each in known}
        objects = {file: by_name[sent.name] for file, sent in plan.reuse.items()}
        unfinished = {_local(each): each for each in known if each.put_at is None}
        reused = len(plan.reuse)
        to_send = plan.send
        del (
            known,
            by_name,
            plan,
        )  # tens of thousands of records: only ``objects`` is needed from here on
        _clean_spool(spool, {each.name for each in unfinished.values()})
        sender = _Sender(database, target_id, box, moment, line, spool, now)
        sent = sender.send(to_send, unfinished, _connections(line, target) if to_send else 1)
        objects.update(sent)
        generation_bytes = _publish(
            database,
            target_id,
            target,
            box=box,
            moment=moment,
            objects=objects,
            number=settled.next_number,
            previous=settled.sha256,
            new_bytes=sender.sent_bytes,
            spool=spool,
            now=now,
        )
    finally:
        target.close()
    return Pushed(
        number=settled.next_number,
        files=len(moment.files),
        sent_objects=len(sent),
        sent_bytes=sender.sent_bytes + generation_bytes,
        reused_objects=reused,
    )


@dataclass(frozen=True, slots=True)
class _Draft:
    """A sealed file in the spool, under the name its object will have."""

    name: str
    sealed: Sealed


class _Abandoned(Exception):
    """Not begun, because another object failed; never the reason that is told."""


class _Sender:
    """Seals ahead and sends over several connections; one thread each, one target each."""

    def __init__(
        self,
        database: Database,
        target_id: TargetId,
        box: Box,
        moment: Moment,
        line: Line,
        spool: Path,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._target_id = target_id
        self._box = box
        self._moment = moment
        self._line = line
        self._spool = spool
        self._now = now
        self._own = threading.local()
        self._opened: list[Target] = []
        self._door = threading.Lock()
        self._failed = threading.Event()
        self.sent_bytes = 0

    def send(
        self,
        files: Sequence[LocalFile],
        unfinished: dict[LocalFile, CopyObject],
        count: int,
    ) -> dict[LocalFile, CopyObject]:
        """Return the object of every file, once all are whole at the target."""
        done: dict[LocalFile, CopyObject] = {}
        waiting: dict[Future[None], tuple[LocalFile, CopyObject]] = {}
        drafts: deque[tuple[LocalFile, CopyObject | None, Future[_Draft]]] = deque()
        pool = ThreadPoolExecutor(count, thread_name_prefix="push")
        sealing = ThreadPoolExecutor(SEALERS, thread_name_prefix="seal")
        rest = iter(files)
        try:
            while True:
                for file in islice(rest, SEALERS + 1 - len(drafts)):
                    before = unfinished.get(file)
                    drafts.append((file, before, sealing.submit(self._draft, file, before)))
                if not drafts:
                    break
                if self._line.should_stop():
                    raise JobCancelled
                file, before, coming = drafts.popleft()
                draft = coming.result()
                self._collect(waiting, done, room=count * AHEAD)
                one = self._recorded(file, before, draft)
                waiting[pool.submit(self._send_one, one, draft.sealed.file)] = (file, one)
            self._collect(waiting, done, room=1)
        finally:
            for each in (sealing, pool):
                each.shutdown(wait=True, cancel_futures=True)
            for target in self._opened:
                target.close()
        return done

    def _collect(
        self,
        waiting: dict[Future[None], tuple[LocalFile, CopyObject]],
        done: dict[LocalFile, CopyObject],
        *,
        room: int,
    ) -> None:
        """Note what has arrived; wait until fewer than ``room`` are on their way."""
        while len(waiting) >= room:
            finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
            arrived: list[CopyObject] = []
            failure: BaseException | None = None
            for future in finished:
                file, one = waiting.pop(future)
                error = future.exception()
                if error is None:
                    done[file] = one
                    arrived.append(one)
                elif failure is None or isinstance(failure, _Abandoned):
                    failure = error
            if arrived:
                with self._database.write() as connection:
                    copies.put(connection, [each.id for each in arrived], now=self._now())
                for each in arrived:
                    (self._spool / each.name).unlink(missing_ok=True)
            if failure is not None:
                raise failure

    def _draft(self, file: LocalFile, before: CopyObject | None) -> _Draft:
        """Return ``file`` sealed: as a cut left it in the spool, or anew. Several at a time, nothing is recorded."""
        if before is not None:
            with suppress(FileNotFoundError):
                found = SealedFile.of(self._spool / before.name)
                if found.sha256 == before.sealed_sha256:
                    sealed = Sealed(before.plain_size, before.plain_sha256, found)
                    return _Draft(before.name, sealed)
        name = secrets.token_hex(16)
        source = self._moment.folder / str(file.repository) / file.path
        return _Draft(name, seal_file(source, self._spool / name, recipient=self._box.recipient))

    def _recorded(self, file: LocalFile, before: CopyObject | None, draft: _Draft) -> CopyObject:
        """Return the object of a draft, recorded: from here on it is sent, and cleaned away by nobody."""
        if before is not None and before.name == draft.name:
            return before
        moment, name, sealed = self._now(), draft.name, draft.sealed
        with self._database.write() as connection:
            if before is not None:
                copies.removed(connection, [before.id], now=moment)
            identity = copies.sealed(
                connection,
                self._target_id,
                name=name,
                repository=file.repository,
                path=file.path,
                plain_size=sealed.plain_size,
                plain_mtime_ns=file.mtime_ns,
                plain_sha256=sealed.plain_sha256,
                sealed_size=sealed.file.size,
                sealed_sha256=sealed.file.sha256,
                now=moment,
            )
        return CopyObject(
            identity,
            name,
            file.repository,
            file.path,
            sealed.plain_size,
            file.mtime_ns,
            sealed.plain_sha256,
            sealed.file.size,
            sealed.file.sha256,
            moment,
            None,
            None,
            None,
        )

    def _send_one(self, one: CopyObject, sealed: SealedFile) -> None:
        if self._failed.is_set():
            raise _Abandoned
        try:
            self._create(one, sealed)
        except BaseException:
            # Another object would only wait for the same dead line, a whole timeout long.
            self._failed.set()
            raise

    def _create(self, one: CopyObject, sealed: SealedFile) -> None:
        target = getattr(self._own, "target", None)
        if target is None:
            target = self._line.open_target()
            self._own.target = target
            with self._door:
                self._opened.append(target)
        try:
            target.create(object_name(one.name), sealed, on_bytes=self._count)
        except ObjectAlreadyThere:
            # Names are random: this very object arrived before a cut. Its size is looked at, its bytes
            # are read back like those of any other.
            found = target.stat(object_name(one.name))
            if found is None or found.size != sealed.size:
                raise

    def _count(self, count: int) -> None:
        with self._door:
            self.sent_bytes += count
        self._line.on_bytes(count)


def _connections(line: Line, target: Target) -> int:
    """Return over how many connections to send: all for a far place, where a round trip is what costs."""
    began = time.monotonic()
    target.stat("objects/none")
    is_near = time.monotonic() - began < NEAR_S
    return max(1, min(line.connections, NEAR_CONNECTIONS) if is_near else line.connections)


def object_name(name: str) -> str:
    """Return where an object lies at a target: 256 folders keep listings short."""
    return f"objects/{name[:2]}/{name}"


def _local(one: CopyObject) -> LocalFile:
    return LocalFile(one.repository, one.path, one.plain_size, one.plain_mtime_ns)


def _clean_spool(spool: Path, wanted: set[str]) -> None:
    for path in spool.iterdir():
        if path.name not in wanted:
            path.unlink(missing_ok=True)


def _publish(
    database: Database,
    target_id: TargetId,
    target: Target,
    *,
    box: Box,
    moment: Moment,
    objects: dict[LocalFile, CopyObject],
    number: int,
    previous: str,
    new_bytes: int,
    spool: Path,
    now: Callable[[], datetime],
) -> int:
    ordered = sorted(objects.items())
    data = manifests.build(
        Manifest(
            box_id=box.box_id,
            number=number,
            taken_at=moment.taken_at,
            previous=previous,
            program=f"armoire {__version__}",
            repositories=moment.repositories,
            files=(),
        ),
        recipient=box.recipient,
        signing_key=box.signing_key,
        files=lambda: (
            CopiedFile(
                file.repository,
                file.path,
                object_name(one.name),
                one.plain_size,
                one.plain_sha256,
                one.sealed_size,
                one.sealed_sha256,
            )
            for file, one in ordered
        ),
    )
    draft = spool / f"generation-{number}"
    draft.write_bytes(data)
    sealed = SealedFile.of(draft)
    ids = [one.id for _, one in ordered]
    with database.write() as connection:
        copies.intend(
            connection,
            target_id,
            number=number,
            taken_at=moment.taken_at,
            sha256=sealed.sha256,
            previous=previous,
            objects=ids,
            plain_bytes=sum(file.size for file in objects),
            new_bytes=new_bytes,
        )
        copies.orphaned(connection, ids, now=None)
    try:
        target.create(manifests.object_name(number), sealed)
    except ObjectAlreadyThere:
        # Ours, its answer lost; another box's, quicker by a moment, which stops us; or forged, and passed
        # over by the next push.
        settled = settle_generation(
            database,
            target_id,
            target,
            box_id=box.box_id,
            signer=box.signing_key.public_key(),
            now=now,
        )
        if settled.number != number:
            raise
    with database.write() as connection:
        copies.published(connection, target_id, number, now=now())
    draft.unlink()
    return sealed.size
