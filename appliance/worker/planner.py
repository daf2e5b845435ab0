"""What happens by itself: nights, waking machines, reading what was pushed, full checks, copies, the clock.

Every decision is ``policy.timetable``'s; here its readings are fetched and its verdicts become jobs.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from appliance.accounts import tunnel
from appliance.accounts.upkeep import accounts_upkeep
from appliance.db import facts, practice, repositories, shares, snapshots, sources
from appliance.db.engine import Database
from appliance.errors import AlreadyQueued, RepositoryMissing
from appliance.jobs import certificates, clock_watch, queue
from appliance.jobs.box_readings import record_disk
from appliance.jobs.copy_planning import copy_wishes
from appliance.jobs.kinds import (
    KINDS,
    CheckRepository,
    ImportPushed,
    OnRepository,
    SetUpSource,
    Spec,
    TakeSnapshot,
    TidyDisk,
    TunnelApply,
    VerifyIndex,
    WakeMachine,
)
from appliance.jobs.pushed import SEEN, new_pushes, push_state
from appliance.ledger import events, proofs
from appliance.model import Job, JobState, Outcome, Repository, Source, SourceKind
from appliance.policy import timetable
from appliance.policy.box_night import OtherNight, waits_for_others
from appliance.policy.timetable import CLOCK_TOLERANCE, Due, Missed, Verdict, WaitForMachine
from appliance.policy.tunnel import PORT
from appliance.settings import Settings
from appliance.worker import notices_watch
from appliance.worker.seen import Seen
from appliance.worker.tasks import tunnel_apply, tunnel_seen

EVERY_S: Final = 30.0  # seconds between two turns
#: A sleeping machine is woken so long before its window, and again in it when it does not answer.
WAKE_AHEAD: Final = timedelta(minutes=5)
WAKE_AGAIN: Final = timedelta(minutes=15)
#: A full check that did not succeed is not tried again before.
CHECK_AGAIN: Final = timedelta(hours=20)
#: A full check waits for the night, unless it is later than that: then it takes any hour.
CHECK_ANY_HOUR: Final = timedelta(days=2)
#: The shares are tidied at this hour of the box, or at any when the box was off then.
TIDY_HOUR: Final = 4
TIDY_ANY_HOUR: Final = timedelta(hours=30)
NOTES_KEPT: Final = timedelta(days=90)
#: The box's own repository is not tried to be made more often.
SET_UP_AGAIN: Final = timedelta(hours=6)

_log = logging.getLogger("armoire.planner")


@dataclass
class Planner:
    """Turns what is due into jobs. Call ``turn`` every EVERY_S seconds; safe to run again at any line."""

    settings: Settings
    database: Database
    seen: Seen = field(default_factory=Seen)
    _forgot_at: datetime | None = None

    def turn(self, now: datetime) -> list[Spec]:
        """Queue what is due at ``now`` and return it; nothing while the clock is wrong."""
        if not self._clock_is_right(now):
            return []
        accounts_upkeep(self.database, now)
        tunnel_seen.look(self.settings, self.database, now)
        self._forget(now)
        with self.database.read() as connection:
            settings = practice.in_force(connection, self.settings)
            living = sources.all_living(connection)
        zone = ZoneInfo(settings.time_zone)
        queued: list[Spec] = []
        # The box itself comes after the others: what it knows of itself then names their snapshots.
        for source in sorted(living, key=lambda each: each.kind is SourceKind.BOX):
            wished = self._wishes(source, now, zone)
            queued += [spec for spec in wished if self._enqueue(spec, now)]
        with self.database.read() as connection:
            others: list[Spec] = [*copy_wishes(connection, settings, now)]
            others += _tidy(connection, now, zone)
            others += _tunnel(connection, now)
            others += certificates.wishes(connection, now)
        queued += [spec for spec in others if self._enqueue(spec, now)]
        # Last: whatever is wrong with telling people, nights and copies have been planned.
        told = notices_watch.turn(settings, self.database, now)
        return queued + [spec for spec in told if self._enqueue(spec, now)]

    # --- one source --------------------------------------------------------------------------

    def _wishes(self, source: Source, now: datetime, zone: ZoneInfo) -> list[Spec]:
        with self.database.read() as connection:
            repository = repositories.find(connection, source.id)
            if not source.plan.enabled:
                return []  # a person said no
            if repository is None:  # of the others a person makes it
                is_box = source.kind is SourceKind.BOX
                return _set_up(connection, source, now) if is_box else []
            busy = any(
                each.source_id == source.id and each.kind != WakeMachine.kind
                for each in queue.waiting(connection)
            )
            last_try = _newest(connection, source, TakeSnapshot.kind)
            newest = snapshots.of_source(connection, source.id, limit=1, with_removed=True)
            began = tried = None
            if newest:
                began = clock_watch.believed(
                    connection, newest[0].started_at, snapshot_id=newest[0].id
                )
            if last_try is not None and last_try.started_at is not None:
                tried = clock_watch.believed(connection, last_try.started_at, job_id=last_try.id)
            full_at = _full_check_due(connection, source, repository)
            checked = _newest(
                connection, source, CheckRepository.kind, lambda job: job.spec.get("full") is True
            )
        wishes: list[Spec] = []
        if source.kind is SourceKind.PUSHED:
            if not busy and self._pushed_something(source, repository):
                wishes.append(ImportPushed(source.id))
        elif not busy:
            if source.host is not None and source.host_key is None:
                return []  # its identity was not confirmed by a person yet
            wishes += self._night(
                source,
                now,
                zone,
                last_success=began,
                last_attempt=tried,
            )
        if not busy and not wishes and newest and now >= full_at:
            window = timetable.latest_window(source.plan, now, zone)
            at_night = window is not None and window.start <= now < window.end
            rested = checked is None or now - checked.queued_at >= CHECK_AGAIN
            if rested and (at_night or now >= full_at + CHECK_ANY_HOUR):
                wishes.append(CheckRepository(source.id, full=True))
        return wishes

    def _night(
        self,
        source: Source,
        now: datetime,
        zone: ZoneInfo,
        *,
        last_success: datetime | None,
        last_attempt: datetime | None,
    ) -> list[Spec]:
        def verdict(*, machine_seen: bool) -> Verdict:
            return timetable.due(
                source.plan,
                last_success_started=last_success,
                last_attempt=last_attempt,
                now=now,
                tz=zone,
                machine_seen=machine_seen,
                known_since=source.created_at,
            )

        match verdict(machine_seen=True):
            case Due() | Missed():
                # Asked only now: a machine that need not answer is left alone.
                if source.host is not None:
                    seen = self.seen.is_seen(source, now)
                    if seen:
                        with self.database.write() as connection:
                            sources.seen(connection, source.id, now=now)
                    elif isinstance(verdict(machine_seen=False), WaitForMachine):
                        return self._wake(source, now, again=WAKE_AGAIN)
                if source.kind is SourceKind.BOX and self._waits_for_others(source, now, zone):
                    return []
                return [TakeSnapshot(source.id)]
            case _:
                ahead = timetable.next_window(source.plan, now, zone)
                if ahead is not None and ahead.start - now <= WAKE_AHEAD:
                    return self._wake(source, now, again=WAKE_AHEAD * 2)
                return []

    def _waits_for_others(self, source: Source, now: datetime, zone: ZoneInfo) -> bool:
        window = timetable.latest_window(source.plan, now, zone)
        if window is None:
            return False
        with self.database.read() as connection:
            busy = {
                each.source_id
                for each in queue.waiting(connection)
                if issubclass(KINDS[each.kind], OnRepository)
            }
            others = []
            for other in sources.with_files(connection):
                if repositories.find(connection, other.id) is None or not other.plan.enabled:
                    continue
                newest = snapshots.newest(connection, other.id)
                # What a machine pushes comes when it comes: only its jobs are waited for.
                plan = replace(other.plan, weekdays=()) if _comes_by_itself(other) else other.plan
                taken_at = None if newest is None else newest.started_at
                others.append(OtherNight(plan, other.id in busy, taken_at))
        return waits_for_others(window, others, now=now, tz=zone)

    def _wake(self, source: Source, now: datetime, *, again: timedelta) -> list[Spec]:
        if source.mac is None or not source.plan.wake_on_lan:
            return []
        with self.database.read() as connection:
            last = _newest(connection, source, WakeMachine.kind)
        if last is not None and now - last.queued_at < again:
            return []
        return [WakeMachine(source.id)]

    def _pushed_something(self, source: Source, repository: Repository) -> bool:
        """Return whether the machine has committed something since the last look, and is not at it now."""
        with self.database.read() as connection:
            asked = facts.find(connection, _pushed_fact(source))
            read = sources.facts(connection, source.id).get(SEEN)
        try:
            return new_pushes(Path(repository.path), asked, read)
        except RepositoryMissing:
            return False  # an unplugged disk says nothing

    def _enqueue(self, spec: Spec, now: datetime) -> bool:
        try:
            with self.database.write() as connection:
                queue.enqueue(connection, spec, now=now)
                if isinstance(spec, ImportPushed):
                    source = sources.get(connection, spec.source_id)
                    repository = repositories.get(connection, spec.source_id)
                    found = push_state(Path(repository.path)).transaction
                    facts.put(connection, _pushed_fact(source), found, now=now)
        except (AlreadyQueued, RepositoryMissing):
            return False
        _log.info("queued %s", spec.wish)
        return True

    # --- the box -----------------------------------------------------------------------------

    def _clock_is_right(self, now: datetime) -> bool:
        """Store ``now`` as the newest moment known, or say that it lies before it (beam 6)."""
        with self.database.write() as connection:
            stored = facts.find(connection, clock_watch.LAST)
            last = datetime.fromisoformat(stored) if isinstance(stored, str) else None
            wrong = facts.find(connection, clock_watch.WRONG)
            if last is not None and now < last - CLOCK_TOLERANCE:
                if not wrong:
                    reading = {"now": now.isoformat(), "last": last.isoformat()}
                    facts.put(connection, clock_watch.WRONG, reading, now=now)
                    events.record(
                        connection,
                        at=now,
                        event="clock.went-back",
                        subject="box",
                        now=reading["now"],
                        last=reading["last"],
                    )
                    _log.error("the clock went back: %s after %s", now, last)
                return False
            if wrong:
                facts.put(connection, clock_watch.WRONG, None, now=now)
                events.record(connection, at=now, event="clock.right-again", subject="box")
            facts.put(connection, clock_watch.LAST, max(now, last or now).isoformat(), now=now)
            record_disk(connection, self.settings, now)
        return True

    def _forget(self, now: datetime) -> None:
        if self._forgot_at is not None and now - self._forgot_at < timedelta(days=1):
            return
        self._forgot_at = now
        with self.database.write() as connection:
            queue.forget_old(connection, before=now - NOTES_KEPT)


def _set_up(connection: Connection, source: Source, now: datetime) -> list[Spec]:
    """Return the job that makes the box's own repository; a person does it for the other sources."""
    last = _newest(connection, source, SetUpSource.kind)
    if last is not None and now - last.queued_at < SET_UP_AGAIN:
        return []
    return [SetUpSource(source.id)]


def _tidy(connection: Connection, now: datetime, zone: ZoneInfo) -> list[Spec]:
    """Return the jobs that tidy the shares and verify what is found in them, once a day."""
    if not shares.all_living(connection):
        return []
    due: list[Spec] = []
    for spec in (TidyDisk(), VerifyIndex()):
        found = queue.newest(connection, kind=spec.kind, limit=1)
        since = timedelta.max if not found else now - found[0].queued_at
        at_hour = now.astimezone(zone).hour == TIDY_HOUR and since > timedelta(hours=2)
        if at_hour or since > TIDY_ANY_HOUR:
            due.append(spec)
    return due


def _tunnel(connection: Connection, now: datetime) -> list[Spec]:
    """Return the job that writes down who may come in, when that changed: a date passed, an account closed."""
    applied = facts.find(connection, tunnel_apply.APPLIED)
    endpoint = tunnel.endpoint(connection)
    if applied is None and not tunnel.living(connection):
        return []  # nobody uses it
    wanted = tunnel_apply.digest(
        tunnel.peers(connection, now=now), PORT if endpoint is None else endpoint[1]
    )
    return [] if wanted == applied else [TunnelApply()]


def _comes_by_itself(source: Source) -> bool:
    return source.kind is SourceKind.PUSHED


def _pushed_fact(source: Source) -> str:
    return f"pushed.{source.id}.transaction"


def _newest(
    connection: Connection,
    source: Source,
    kind: str,
    wanted: Callable[[Job], bool] = lambda _job: True,
) -> Job | None:
    """Return the newest job of ``kind`` about a source that really began or still may."""
    found = queue.newest(connection, source_id=source.id, kind=kind, limit=20)
    return next(
        (
            job
            for job in found
            if wanted(job) and (job.state is not JobState.CANCELLED or job.started_at is not None)
        ),
        None,
    )


def _full_check_due(connection: Connection, source: Source, repository: Repository) -> datetime:
    """Return when every byte must have been re-read again."""
    proven = proofs.latest(connection, source.id, "repository.data", outcome=Outcome.PROVEN)
    since = proven.at if proven is not None else repository.created_at
    return since + timedelta(days=source.plan.verify_data_every_days)
