"""What happens by itself: the planner lives through days of an injected clock on a real database."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.db import facts, practice, repositories, snapshots, sources
from appliance.jobs import clock_watch, frozen, queue
from appliance.jobs.kinds import (
    CheckRepository,
    ImportPushed,
    Prune,
    SetUpSource,
    TakeSnapshot,
    WakeMachine,
)
from appliance.ledger import chain, proofs
from appliance.model import (
    BOX_SOURCE,
    Consistency,
    JobState,
    Outcome,
    Plan,
    Snapshot,
    SnapshotState,
    SourceId,
    SourceKind,
)
from appliance.policy.retention import FreezeReason
from appliance.vault.seal import make_keys
from appliance.worker import box_source
from appliance.worker.planner import Planner
from appliance.worker.seen import Seen

#: The practice is in Paris: in winter its 20:00 is 19:00 UTC.
NOON = datetime(2026, 1, 14, 11, tzinfo=UTC)
EVENING = datetime(2026, 1, 14, 19, 5, tzinfo=UTC)
NEXT_NOON = datetime(2026, 1, 15, 11, tzinfo=UTC)


class Box:
    """A planner, and the worker's part done by hand."""

    def __init__(self, settings, database):
        self.database = database
        self.settings = settings
        self.awake = {"poste.lan"}
        self.asked: list[str] = []
        self.planner = Planner(settings, database, Seen(self._ask))

    def _ask(self, host: str, _port: int) -> bool:
        self.asked.append(host)
        return host in self.awake

    def add(self, name="poste", kind=SourceKind.PULLED, *, at=NOON, plan=None, mac=None, **given):
        with self.database.write() as c:
            made = sources.add(
                c, name=name, label=name, kind=kind, roots=("/home",), now=at,
                host="poste.lan" if kind is SourceKind.PULLED else None, user="u",
                plan=plan or Plan(), **given,
            )  # fmt: skip
            sources.change(c, made.id, host_key="ssh-ed25519 AAAA", mac=mac)
            path = self.settings.data / "repositories" / str(made.id)
            path.mkdir(parents=True)
            (path / "config").touch()
            repositories.add(c, made.id, path=str(path), borg_id=f"{made.id:064x}", now=at)
            return sources.get(c, made.id)

    def run_all(self, now, state=JobState.SUCCEEDED):
        """End every waiting job; a backup that succeeds leaves a snapshot."""
        while True:
            with self.database.write() as c:
                job = queue.claim(c, runner="a:1", now=now)
                if job is None:
                    return
                if job.kind == TakeSnapshot.kind and state is JobState.SUCCEEDED:
                    number = snapshots.next_id(c)
                    snapshots.add(
                        c,
                        Snapshot(
                            number, job.source_id, f"a{number}", f"{number:064x}", job.id, now, now,
                            SnapshotState.COMPLETE, Consistency.FILES, 1, 1, 1, 1,
                        ),
                    )  # fmt: skip
                queue.finish(c, job.id, state, now=now)


@pytest.fixture
def box(settings, database) -> Box:
    return Box(settings, database)


def test_a_night_begins_in_its_window_and_once(box):
    """Not at noon; at eight in the evening yes; done is done until tomorrow."""
    source = box.add()

    assert box.planner.turn(NOON) == []
    assert box.planner.turn(EVENING) == [TakeSnapshot(source.id)]
    assert box.planner.turn(EVENING + timedelta(seconds=30)) == []  # it waits already
    box.run_all(EVENING + timedelta(minutes=1))
    assert box.planner.turn(EVENING + timedelta(hours=3)) == []
    assert box.planner.turn(EVENING + timedelta(days=1)) == [TakeSnapshot(source.id)]


def test_another_time_zone_moves_the_night_of_a_planner_that_runs(box):
    """Eight in the evening is the practice's, from the next turn on."""
    source = box.add()
    in_paris = EVENING - timedelta(hours=10)  # ten in the morning; in Nouméa, eight in the evening
    assert box.planner.turn(in_paris) == []

    with box.database.write() as connection:
        facts.put(connection, practice.TIME_ZONE, "Pacific/Noumea", now=in_paris)

    assert box.planner.turn(in_paris) == [TakeSnapshot(source.id)]


def test_a_time_zone_nobody_knows_stops_no_night(box):
    """A system without it goes on by that of the settings file."""
    source = box.add()
    with box.database.write() as connection:
        facts.put(connection, practice.TIME_ZONE, "Europe/Atlantis", now=NOON)

    assert box.planner.turn(NOON) == []
    assert box.planner.turn(EVENING) == [TakeSnapshot(source.id)]


def test_a_machine_that_sleeps_is_woken_before_its_window_and_run_when_it_is_seen(box):
    """The window was missed: the run begins the next morning, when the machine answers, once."""
    source = box.add(mac="02:00:00:00:00:01")
    box.awake.clear()

    before = datetime(2026, 1, 14, 18, 56, tzinfo=UTC)
    assert box.planner.turn(before) == [WakeMachine(source.id)]
    box.run_all(before)
    assert box.planner.turn(EVENING) == []  # woken nine minutes ago
    assert box.planner.turn(EVENING + timedelta(minutes=15)) == [WakeMachine(source.id)]
    box.run_all(EVENING + timedelta(minutes=15))
    assert TakeSnapshot(source.id) not in box.planner.turn(NEXT_NOON)
    box.run_all(NEXT_NOON)
    box.awake.add("poste.lan")
    seen_at = NEXT_NOON + timedelta(minutes=3)
    assert box.planner.turn(seen_at) == [TakeSnapshot(source.id)]
    box.run_all(seen_at)
    assert box.planner.turn(seen_at + timedelta(minutes=3)) == []
    with box.database.read() as c:
        assert sources.get(c, source.id).last_seen_at == seen_at


def test_a_machine_is_not_asked_more_often_than_every_two_minutes(box):
    """A «seen» probe is cheap for us and for the network."""
    box.add()
    box.awake.clear()

    for seconds in range(0, 240, 30):
        box.planner.turn(EVENING + timedelta(seconds=seconds))

    assert len(box.asked) == 2


def test_nothing_is_asked_of_a_machine_outside_its_hours(box):
    """The day belongs to the people who work on it."""
    box.add()

    box.planner.turn(NOON)

    assert box.asked == []


def test_a_machine_nobody_confirmed_is_left_alone(box):
    """No host key, no connection: somebody else might answer there."""
    source = box.add()
    with box.database.write() as c:
        sources.change(c, source.id, host_key=None)

    assert box.planner.turn(EVENING) == []
    assert box.asked == []


@pytest.mark.parametrize("how", ["switched off", "not set up"])
def test_a_source_that_cannot_run_is_not_planned(box, database, how):
    """A plan that is switched off, or a repository that is not made yet."""
    source = box.add(plan=Plan(enabled=how != "switched off"))
    if how == "not set up":
        from sqlalchemy import delete

        from appliance.db.schema import repository

        with database.write() as c:
            c.execute(delete(repository).where(repository.c.source_id == source.id))

    assert box.planner.turn(EVENING) == []


def test_a_failed_night_is_tried_again_an_hour_later(box):
    """Not at once: what was wrong is probably wrong still."""
    source = box.add()
    box.planner.turn(EVENING)
    box.run_all(EVENING, JobState.FAILED)

    assert box.planner.turn(EVENING + timedelta(minutes=50)) == []
    assert box.planner.turn(EVENING + timedelta(minutes=61)) == [TakeSnapshot(source.id)]


def test_a_clock_that_went_back_begins_nothing_until_it_is_right(box):
    """No night is done twice, and the ledger tells both moments, once."""
    source = box.add(at=NOON - timedelta(days=3))
    box.planner.turn(EVENING)
    box.run_all(EVENING)

    yesterday = EVENING - timedelta(days=1)
    assert box.planner.turn(yesterday) == []
    assert box.planner.turn(yesterday + timedelta(seconds=30)) == []
    with box.database.read() as c:
        wrong = facts.find(c, "clock.wrong")
        told = [each.event for each in chain.entries(c)]
    assert wrong == {"now": yesterday.isoformat(), "last": EVENING.isoformat()}
    assert told == ["clock.went-back"]

    tomorrow = EVENING + timedelta(days=1)
    assert box.planner.turn(tomorrow) == [TakeSnapshot(source.id)]
    with box.database.read() as c:
        assert facts.find(c, "clock.wrong") is None
        assert [each.event for each in chain.entries(c)] == ["clock.went-back", "clock.right-again"]


def test_a_clock_set_right_by_a_minute_is_no_alarm(box):
    """Time servers do that."""
    source = box.add()
    box.planner.turn(EVENING)
    box.run_all(EVENING)

    assert box.planner.turn(EVENING - timedelta(minutes=1)) == []
    with box.database.read() as c:
        assert facts.find(c, "clock.wrong") is None
        assert len(queue.newest(c, source_id=source.id)) == 1


def commit(repository: Path, transaction: int) -> None:
    for old in repository.glob("index.*"):
        old.unlink()
    (repository / f"index.{transaction}").touch()


def test_what_a_machine_pushed_is_read_once_it_is_whole(box):
    """While Borg holds the repository nothing is read; afterwards once for each push."""
    source = box.add("portable", SourceKind.PUSHED)
    repository = Path(box.settings.data / "repositories" / str(source.id))

    assert box.planner.turn(NOON) == []
    commit(repository, 5)
    (repository / "lock.exclusive").mkdir()
    assert box.planner.turn(NOON) == []
    (repository / "lock.exclusive").rmdir()
    assert box.planner.turn(NOON) == [ImportPushed(source.id)]
    box.run_all(NOON)
    assert box.planner.turn(NOON + timedelta(minutes=1)) == []
    commit(repository, 9)
    assert box.planner.turn(NOON + timedelta(minutes=2)) == [ImportPushed(source.id)]


def test_an_unplugged_disk_says_nothing_about_pushes(box):
    """A missing folder is neither empty nor new."""
    source = box.add("portable", SourceKind.PUSHED)
    repository = Path(box.settings.data / "repositories" / str(source.id))
    commit(repository, 5)
    repository.rename(repository.with_name("unplugged"))

    assert box.planner.turn(NOON) == []
    repository.with_name("unplugged").rename(repository)
    assert box.planner.turn(NOON) == [ImportPushed(source.id)]


# --- the box itself ----------------------------------------------------------------------------


def own(box) -> SourceId:
    make_keys(box.settings.keys)
    box_source.ensure(box.settings, box.database, NOON)
    with box.database.write() as c:
        repositories.add(c, BOX_SOURCE, path=str(box.settings.data), borg_id="f" * 64, now=NOON)
    return BOX_SOURCE


def test_the_repository_of_the_box_itself_is_made_without_a_person(box):
    """Once; a disk that is away is not tried every half minute."""
    make_keys(box.settings.keys)
    box_source.ensure(box.settings, box.database, NOON)

    assert box.planner.turn(NOON) == [SetUpSource(BOX_SOURCE)]
    assert box.planner.turn(NOON) == []
    box.run_all(NOON, JobState.FAILED)
    assert box.planner.turn(NOON + timedelta(hours=1)) == []
    assert box.planner.turn(NOON + timedelta(hours=7)) == [SetUpSource(BOX_SOURCE)]


def test_the_box_itself_comes_after_all_the_others(box):
    """So that what it knows of itself names their snapshots, and lists none that was pruned since."""
    source, late = box.add(), box.add("serveur", plan=Plan(window_start="23:00"))
    own(box)

    assert box.planner.turn(EVENING) == [TakeSnapshot(source.id)]
    box.run_all(EVENING + timedelta(minutes=1))
    assert box.planner.turn(EVENING + timedelta(minutes=2)) == []  # the other begins at 23:00
    night = EVENING + timedelta(hours=4)
    assert box.planner.turn(night) == [TakeSnapshot(late.id)]
    box.run_all(night)
    with box.database.write() as c:
        queue.enqueue(c, Prune(late.id), now=night)
    assert box.planner.turn(night + timedelta(minutes=1)) == []
    box.run_all(night)
    assert box.planner.turn(night + timedelta(minutes=2)) == [TakeSnapshot(BOX_SOURCE)]
    box.run_all(night)
    assert box.planner.turn(night + timedelta(minutes=3)) == []


def test_a_machine_that_sleeps_all_night_does_not_keep_the_box_from_its_own(box):
    """From half past four on nobody is waited for: the copy leaves at five."""
    box.add()
    own(box)
    box.awake.clear()

    assert box.planner.turn(EVENING) == []
    assert box.planner.turn(datetime(2026, 1, 15, 3, 25, tzinfo=UTC)) == []
    assert box.planner.turn(datetime(2026, 1, 15, 3, 31, tzinfo=UTC)) == [TakeSnapshot(BOX_SOURCE)]


def test_every_byte_is_read_again_once_a_month_at_night(box):
    """After the night's own work, inside the window; not twice, and not before it is due."""
    source = box.add()
    late = EVENING + timedelta(days=31)
    for night in (EVENING, late):
        box.planner.turn(night)
        box.run_all(night)

    assert box.planner.turn(late + timedelta(minutes=1)) == [CheckRepository(source.id, full=True)]
    box.run_all(late + timedelta(minutes=2))
    assert box.planner.turn(late + timedelta(minutes=3)) == []  # it left no proof: again tomorrow
    with box.database.write() as c:
        proofs.record(
            c, at=late, kind="repository.data", outcome=Outcome.PROVEN, figures={},
            source_id=source.id,
        )  # fmt: skip
    soon = late + timedelta(days=3)
    box.planner.turn(soon)
    box.run_all(soon)
    assert box.planner.turn(soon + timedelta(minutes=1)) == []


def test_a_clock_that_jumped_years_ahead_stops_the_box_only_until_a_person_accepts_the_time(box):
    """A dead battery on one evening must not stop every night until that year has come."""
    source = box.add()
    wrong = EVENING.replace(year=2099)
    box.planner.turn(wrong)
    box.run_all(wrong)  # a night, dated 2099
    assert box.planner.turn(EVENING) == []

    with box.database.write() as c:
        clock_watch.accept(c, now=EVENING - timedelta(minutes=10), actor="command")

    assert box.planner.turn(EVENING) == [TakeSnapshot(source.id)]
    box.run_all(EVENING)
    assert box.planner.turn(EVENING + timedelta(hours=1)) == []
    assert box.planner.turn(EVENING + timedelta(days=1)) == [TakeSnapshot(source.id)]
    with box.database.read() as c:
        assert "clock.accepted" in {each.event for each in chain.entries(c)}
        found = frozen.reasons(c, source, now=EVENING + timedelta(days=1))
        assert FreezeReason.CLOCK_WRONG not in found
