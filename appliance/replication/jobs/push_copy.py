"""The job that sends a copy: one moment of every repository, frozen in seconds, then sent without any lock.

Safe to run again after a cut at any line: ``replication.push`` remembers what was sent; the moment is made anew.
"""

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import utc_now
from appliance.db import copies, facts, repositories, secrets, snapshots, sources, targets
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import (
    BackupError,
    InvalidInput,
    NotFound,
    NotInitialised,
    RepositoryLocked,
    SendingNotAllowed,
    StateNotSaved,
)
from appliance.jobs.context import JobContext
from appliance.jobs.copy_readings import verdict_of
from appliance.jobs.kinds import PushCopy, TakeSnapshot, VerifyCopy
from appliance.language import mark
from appliance.ledger import events
from appliance.model import BOX_SOURCE, JobState, Repository, Source, SourceId
from appliance.policy import bandwidth
from appliance.policy import place as places
from appliance.policy.hosting import Verdict
from appliance.policy.place import DirectoryPlace
from appliance.replication import kit, state, takeover
from appliance.replication.bandwidth import Throttle
from appliance.replication.manifest import CopiedRepository
from appliance.replication.moment import freeze
from appliance.replication.open_target import open_target
from appliance.replication.plan import LocalFile
from appliance.replication.push import Box, Line, Moment, Pushed, push
from appliance.replication.settle import record_forged
from appliance.replication.target import Target
from appliance.replication.tools import Tools
from appliance.settings import Settings
from appliance.vault.unseal import unseal

#: A repository at work is waited for so long; then what the last copy had of it is sent along.
WAIT_S: Final = 60.0
#: The timetable is read again so often while bytes leave: a change on the page is obeyed by then.
RATE_S: Final = 2.0


def folder_of(settings: Settings, target_id: int) -> Path:
    """Return where the jobs of a target keep what they need for a while."""
    return settings.data / "copies" / str(target_id)


def run(context: JobContext, spec: PushCopy, tools: Tools) -> JobState:
    """Send what the target lacks, publish a generation, queue its verification.

    Returns:
        WARNED when a repository could not be frozen and its former files stand in for it.

    Raises:
        NotFound: the target was removed, or no kit was made.
        SendingNotAllowed: the rules of hosting say no.
        StateNotSaved: the box's own state has no snapshot yet; one is queued.
        RepositoryLocked: one that was never sent is being worked on.
        TargetIdentityChanged: another box took over, another disk or host answers.
        JobCancelled: what was sent stays sent.
        Any TargetError or VaultError.
    """
    begun = time.monotonic()
    settings, database = context.settings, context.database
    context.step("preparing")
    with database.read() as connection:
        row = targets.get(connection, TargetId(spec.target_id))
        must_be_allowed(row, verdict_of(row, settings, utc_now()))
        opener = open_target(connection, row, settings, now=utc_now)
        box = _box(connection, settings)
        resend_before = _resend_before(connection)
        has_state = snapshots.newest(connection, BOX_SOURCE) is not None
    if not has_state:
        context.enqueue(TakeSnapshot(BOX_SOURCE))
        raise StateNotSaved
    folder, frozen = folder_of(settings, row.id), _moment_folder(settings, row.id)
    context.step("connecting")
    _before(context, row, opener, box, folder / "spool")
    try:
        context.step("freezing")
        moment, carried = _freeze(context, row, frozen, tools, resend_before, box)
        context.check()
        context.step("sending")
        sending = Sending(context, row.id, ZoneInfo(settings.time_zone))
        pushed = push(
            database,
            row.id,
            box=box,
            moment=moment,
            line=Line(
                opener,
                connections=_connections(row),
                on_bytes=sending.on_bytes,
                on_plan=sending.on_plan,
                should_stop=context.should_stop,
            ),
            spool=folder / "spool",
            now=utc_now,
            resend_before=resend_before,
        )
    finally:
        shutil.rmtree(frozen, ignore_errors=True)
    shutil.rmtree(folder / "spool", ignore_errors=True)
    with suppress(OSError):
        folder.rmdir()  # unless another job of this target keeps something there
    _record(context, row, moment, pushed, carried, time.monotonic() - begun)
    context.enqueue(VerifyCopy(row.id))
    return JobState.WARNED if carried else JobState.SUCCEEDED


def _moment_folder(settings: Settings, target_id: int) -> Path:
    """Return where the moment is linked: hard links stay on the disk of the repositories, often one of its own."""
    usual = folder_of(settings, target_id) / "moment"
    with suppress(OSError):
        if settings.repositories.stat().st_dev != settings.data.stat().st_dev:
            return settings.repositories / ".moments" / str(target_id)
    return usual


def must_be_allowed(row: TargetRow, verdict: Verdict) -> None:
    """Return when new objects may be sent.

    Raises:
        SendingNotAllowed: with the reason a person can act upon.
    """
    if verdict.may_send:
        return
    blocking = next(each for each in verdict.remarks if each.blocks)
    reason = (
        mark("Open its host file: it says what is missing, and how to change host.")
        if blocking.facts or blocking.code.startswith("hosting.certificate")
        else blocking.text
    )
    raise SendingNotAllowed(row.name, reason)


def _box(connection: Connection, settings: Settings) -> Box:
    box_id, recipient = facts.find(connection, "box.id"), facts.find(connection, "kit.recipient")
    if not isinstance(box_id, str):
        raise NotInitialised(str(settings.data))
    if not isinstance(recipient, str):
        raise NotFound("kit", "–")
    return Box(box_id, recipient, kit.signing_key(connection, settings.keys))


def _resend_before(connection: Connection) -> datetime | None:
    found = facts.find(connection, "kit.resend-before")
    return datetime.fromisoformat(found) if isinstance(found, str) else None


def _connections(row: TargetRow) -> int:
    place = places.parse(row.kind, row.place)
    return 1 if isinstance(place, DirectoryPlace) else place.connections


def _before(
    context: JobContext, row: TargetRow, opener: Callable[[], Target], box: Box, spool: Path
) -> None:
    """Return when this box is the one that writes there."""
    target = opener()
    try:
        takeover.before_push(
            context.database,
            target,
            row.name,
            box_id=box.box_id,
            signing_key=box.signing_key,
            spool=spool,
            now=utc_now(),
            on_forged=lambda name, sha256: record_forged(
                context.database, row.id, name, sha256, now=utc_now()
            ),
        )
    finally:
        target.close()


# --- one moment ------------------------------------------------------------------------------


def _freeze(
    context: JobContext,
    row: TargetRow,
    into: Path,
    tools: Tools,
    resend_before: datetime | None,
    box: Box,
) -> tuple[Moment, list[SourceId]]:
    """Return the frozen files of every repository, and the sources whose former files stand in."""
    with context.database.read() as connection:
        found = [
            (source, repository)
            for source in sources.all_living(connection)
            if (repository := repositories.find(connection, source.id)) is not None
        ]
    shutil.rmtree(into, ignore_errors=True)
    files: list[LocalFile] = []
    kept: list[CopiedRepository] = []
    carried: list[SourceId] = []
    begun = utc_now()
    for source, repository in found:
        context.check()
        try:
            frozen = _freeze_one(context, source, repository, into, tools, box)
        except BackupError as error:
            frozen = _former_files(context, row, source.id, resend_before)
            if not frozen:
                if source.id == BOX_SOURCE or isinstance(error, RepositoryLocked):
                    raise
                context.note(
                    mark("The repository of «%(label)s» cannot be read: this copy is without it."),
                    level="warning",
                    label=source.label,
                    code=error.code,
                )
                carried.append(source.id)
                continue
            carried.append(source.id)
            context.note(
                mark(
                    "The repository of «%(label)s» is at work or cannot be read: this copy holds it"
                    " as the last one did."
                ),
                level="warning",
                label=source.label,
                code=error.code,
            )
        files += frozen
        kept.append(
            CopiedRepository(
                source.id, repository.borg_id, source.name, source.label, source.kind.value
            )
        )
    return Moment(begun, into, tuple(sorted(files)), tuple(kept)), carried


def _freeze_one(
    context: JobContext,
    source: Source,
    repository: Repository,
    into: Path,
    tools: Tools,
    box: Box,
) -> list[LocalFile]:
    path, place = Path(repository.path), into / str(source.id)
    if source.id == BOX_SOURCE:
        name = f"repository:{BOX_SOURCE}:passphrase"
        with context.database.read() as connection:
            sealed = secrets.get_sealed(connection, name)
        # To the sheets that count today, whoever made them when.
        state.seal_passphrase(path, unseal(name, sealed, context.settings.keys), box.recipient)
    frozen = freeze(path, source.id, place, locked=lambda: tools.hold_lock(path, wait_s=WAIT_S))
    if source.id == BOX_SOURCE:
        frozen += state.freeze_passphrase(path, place)
    return frozen


def _former_files(
    context: JobContext, row: TargetRow, source_id: SourceId, resend_before: datetime | None
) -> list[LocalFile]:
    """Return the files the newest generation there has of a repository; none when one of them is not usable.

    Their objects lie there, so nothing of them is read here.
    """
    with context.database.read() as connection:
        former = copies.newest_files(connection, row.id, source_id)
    if any(each.put_at is None for each in former):
        return []
    if resend_before is not None and any(each.sealed_at < resend_before for each in former):
        return []
    return [
        LocalFile(each.repository, each.path, each.plain_size, each.plain_mtime_ns)
        for each in former
    ]


# --- what is seen while it runs --------------------------------------------------------------


@dataclass
class Sending:
    """Counts what leaves and holds it to the timetable, which a person may change meanwhile."""

    context: JobContext
    target_id: TargetId
    zone: ZoneInfo
    _door: threading.Lock = field(default_factory=threading.Lock)
    _done: int = 0
    _total: int | None = None
    _rate: int | None = None
    _asked_at: float | None = None
    _throttle: Throttle | None = None

    def on_plan(self, total: int) -> None:
        """Learn how many bytes are to be sent."""
        with self._door:
            self._total = total
            self.context.report(0, total)

    def on_bytes(self, count: int) -> None:
        """Count, and return when these bytes have had their time.

        Raises:
            JobCancelled: while waiting.
        """
        with self._door:
            if self._throttle is None:
                self._throttle = Throttle(self._bytes_s, should_stop=self.context.should_stop)
            throttle = self._throttle
        throttle.take(count)
        with self._door:
            self._done += count
            # Sealing adds a little: the figure on the page never passes its total.
            done = self._done if self._total is None else min(self._done, self._total)
            self.context.report(done, self._total)

    def _bytes_s(self) -> int | None:
        """Return the rate now; called under the throttle's door."""
        at = time.monotonic()
        if self._asked_at is None or at - self._asked_at >= RATE_S:
            self._asked_at = at
            with suppress(SQLAlchemyError, InvalidInput, NotFound):
                with self.context.database.read() as connection:
                    row = targets.get(connection, self.target_id)
                rules = bandwidth.from_stored(row.bandwidth)
                self._rate = bandwidth.rate_at(rules, utc_now().astimezone(self.zone))
        return self._rate


def _record(
    context: JobContext,
    row: TargetRow,
    moment: Moment,
    pushed: Pushed,
    carried: list[SourceId],
    seconds: float,
) -> None:
    figures: dict[str, Any] = {
        "generation": pushed.number,
        "files": pushed.files,
        "plain_bytes": sum(each.size for each in moment.files),
        "sent_objects": pushed.sent_objects,
        "sent_bytes": pushed.sent_bytes,
        "reused_objects": pushed.reused_objects,
        "carried_over": len(carried),
        "seconds": round(seconds, 1),
    }
    context.result.update(figures)
    with context.database.write() as connection:
        events.record(
            connection,
            at=utc_now(),
            event="copy.published",
            subject=f"target:{row.id}",
            actor=context.actor,
            taken_at=moment.taken_at.isoformat(),
            **figures,
        )
    context.note(
        mark("Generation %(number)s is complete: %(objects)s new objects, %(sent_bytes)s sent."),
        number=pushed.number,
        objects=pushed.sent_objects,
        sent_bytes=pushed.sent_bytes,
    )
