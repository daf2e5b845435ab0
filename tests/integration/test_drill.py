"""The drill: the box made again beside itself, timed, compared, removed; and the living box untouched."""

import random
import signal
import time
from contextlib import ExitStack

import pytest

from appliance.clock import utc_now
from appliance.db import facts, secrets
from appliance.db.engine import open_database
from appliance.errors import (
    AlreadyQueued,
    NoSpace,
    NotFound,
    SheetOfAnotherKit,
)
from appliance.jobs import drill_asking, drill_readings, drill_scratch, kit_words, queue
from appliance.jobs.kinds import RunDrill
from appliance.ledger import chain, proofs
from appliance.model import JobState, Outcome
from appliance.replication import kit_documents, state, takeover
from appliance.replication.drill import Copy, Watch, rehearse
from appliance.replication.manifest import object_name
from appliance.vault import words
from appliance.worker import wiring
from tests.support.armoire import Armoire, end, until
from tests.support.copied_box import tree_of
from tests.support.drilled_box import BOX_ID, DrilledBox
from tests.support.small_disk import no_file_larger_than

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """One night, copied to a disk; each test has a box of its own like it."""
    made = DrilledBox(tmp_path_factory.mktemp("box"))
    made.work()
    made.push()
    made.close()
    return made


@pytest.fixture
def box(pushed, tmp_path):
    copy = pushed.copy_to(tmp_path)
    yield copy
    copy.close()


@pytest.fixture
def fresh(tmp_path):
    """A box whose nights go on."""
    made = DrilledBox(tmp_path)
    made.work()
    made.push()
    yield made
    made.close()


def ask(box: DrilledBox, typed: str = "", target_id: int | None = None) -> int:
    secret = words.join([typed or box.words])
    wanted = box.target.id if target_id is None else target_id
    return drill_asking.ask(box.database, box.settings, wanted, secret, now=utc_now())


def drill(box: DrilledBox) -> int:
    """Ask, and let the job's own process do it."""
    ask(box)
    job_id, process = box.start(RunDrill(box.target.id))
    process.wait(120)
    return job_id


def nothing_left(box: DrilledBox) -> bool:
    with box.database.read() as connection:
        words_there = secrets.find_sealed(connection, drill_scratch.WORDS) is not None
    return not (box.settings.data / "drill").exists() and not words_there


def newest(box: DrilledBox):
    with box.database.read() as connection:
        past = drill_readings.of_all(connection)
    return past[0] if past else None


def test_the_box_is_made_again_timed_compared_and_removed(fresh):
    """Proof, figures, findings; and neither the place nor the living box have changed."""
    box = fresh
    disk, nonces = tree_of(box.disk), box.nonces()
    with box.database.read() as connection:
        before = drill_readings.drill_findings(connection, utc_now())

    job_id = drill(box)

    assert box.job(job_id).state is JobState.SUCCEEDED, box.job(job_id)
    past = newest(box)
    made = past.drill
    assert (past.outcome, past.target_id, made.generation) == (Outcome.PROVEN, box.target.id, 1)
    assert 0 < made.state_s <= made.first_document_s <= made.restored_s <= made.total_s
    assert made.documents == made.documents_same >= 10
    assert made.segments == made.segments_same > 4
    assert sorted(each.source_id for each in made.repositories) == [1, 2]
    assert {each.check for each in made.repositories} == {"right"}
    assert made.ledger_follows
    assert made.dmia_s == 24 * 3600
    assert box.job(job_id).result["proof"] == past.seq
    assert nothing_left(box)
    assert tree_of(box.disk) == disk
    assert box.nonces() == nonces
    takeover.check_takeover(
        box.open_disk(), None, box_id=BOX_ID, signer=box.signing_key.public_key()
    )
    with box.database.read() as connection:
        assert facts.find(connection, "box.instance") is None
        assert facts.find(connection, "box.recovered") is None
        assert proofs.latest_of_target(connection, box.target.id, "drill.complete") is not None
        after = drill_readings.drill_findings(connection, utc_now())
        chain.verify(connection)
    assert ([each.code for each in before], after) == (["drill.never"], [])
    box.work()  # the next night goes on
    assert box.push().number == 2


def test_words_of_another_kit_or_an_unknown_place_queue_nothing(box):
    """And no words are kept."""
    other = words.split(words.make_secret(), needed=1, sheets=1)[0]
    with pytest.raises(SheetOfAnotherKit):
        ask(box, other)
    with pytest.raises(NotFound):
        ask(box, target_id=99)
    assert nothing_left(box)
    with box.database.read() as connection:
        assert drill_readings.active(connection) is None


def test_one_at_a_time(box):
    ask(box)
    with pytest.raises(AlreadyQueued):
        ask(box)


def test_words_of_a_drill_that_was_cancelled_do_not_stay(box):
    """A person changes their mind before it began."""
    job_id = ask(box)
    assert drill_scratch.sweep(box.settings, box.database) is False
    with box.database.write() as connection:
        queue.ask_cancel(connection, job_id, now=utc_now())
    assert drill_scratch.sweep(box.settings, box.database) is True
    assert nothing_left(box)


def test_killed_at_random_moments_it_leaves_nothing_and_the_next_one_succeeds(box):
    """SIGKILL of the job and of what it started; the worker's next look removes everything."""
    dice, disk, nonces = random.Random(11), tree_of(box.disk), box.nonces()
    seen = 0
    for number in range(4):
        ask(box)
        _, process = box.start(RunDrill(box.target.id))
        place = box.settings.data / "drill"
        # From the moment it has a folder: before, there is nothing to leave.
        limit = time.monotonic() + 90
        while not place.exists() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.005)
        time.sleep(dice.uniform(0.0, 0.4) * (number + 1) / 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        seen += place.exists()
        box.interrupt_all()
        drill_scratch.sweep(box.settings, box.database)
        assert nothing_left(box)
    assert seen > 0, "no kill came while there was something"
    assert tree_of(box.disk) == disk
    assert box.nonces() == nonces
    assert newest(box) is None

    job_id = drill(box)

    assert box.job(job_id).state is JobState.SUCCEEDED
    assert nothing_left(box)


def test_a_drill_removes_what_a_killed_one_left(box):
    """Also where no worker looks."""
    old = box.settings.data / "drill" / "box" / "keys"
    old.mkdir(parents=True)
    (old / "box.key").write_text("x")

    assert box.job(drill(box)).state is JobState.SUCCEEDED
    assert nothing_left(box)


def test_stopped_by_a_person_it_leaves_nothing_and_proves_nothing(box):
    ask(box)
    job_id, process = box.start(RunDrill(box.target.id))
    limit = time.monotonic() + 90
    while not (box.settings.data / "drill").exists() and time.monotonic() < limit:
        time.sleep(0.01)
    with box.database.write() as connection:
        queue.ask_cancel(connection, job_id, now=utc_now())
    process.send_signal(signal.SIGTERM)
    process.wait(60)

    assert box.job(job_id).state is JobState.CANCELLED
    assert nothing_left(box)
    assert newest(box) is None


def test_a_place_that_is_not_there_is_said_and_proves_nothing(box):
    """A cut line is no verdict on the copy."""
    box.disk.rename(box.disk.with_name("away"))

    job = box.job(drill(box))

    assert job.state is JobState.FAILED
    assert str(job.error_code).startswith("target.")
    assert nothing_left(box)
    assert newest(box) is None


def test_a_copy_that_lost_an_object_fails_with_a_proof_and_an_alarm(box):
    """The copy lists it with its size; only reading shows it. That is what a drill is for."""
    victim = max(
        (box.disk / "objects").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size
    )
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(data)

    job = box.job(drill(box))

    past = newest(box)
    assert job.state is JobState.FAILED
    assert (past.outcome, past.drill.reason) == (Outcome.FAILED, "target.object-altered")
    assert nothing_left(box)
    with box.database.read() as connection:
        found = drill_readings.drill_findings(connection, utc_now())
    assert [each.code for each in found] == ["drill.failed", "drill.never"]


def test_an_older_generation_makes_the_box_but_is_no_proof(fresh):
    """What would be lost is said."""
    box = fresh
    first = {path.name for path in (box.disk / "objects").rglob("*") if path.is_file()}
    box.work()
    box.push()
    new = [
        path
        for path in (box.disk / "objects").rglob("*")
        if path.is_file() and path.name not in first
    ]
    new[0].unlink()

    job = box.job(drill(box))

    past = newest(box)
    assert job.state is JobState.WARNED
    assert (past.outcome, past.drill.generation) == (Outcome.INCONCLUSIVE, 1)
    assert past.drill.is_right
    assert (box.disk / object_name(2)).exists()


def test_a_disk_without_room_for_a_second_box_refuses_at_once(box):
    """Not after hours, and with the figure."""
    ask(box)
    job_id, process = box.start(RunDrill(box.target.id), ARMOIRE_FREE_BYTES_FLOOR=str(1 << 60))
    process.wait(60)

    assert box.job(job_id).error_code == "box.no-space"
    with box.database.read() as connection:
        (note,) = queue.notes(connection, job_id)
    assert note.facts["needed_bytes"] > 1 << 60
    assert nothing_left(box)


def test_a_disk_that_fills_up_meanwhile_is_said(box, tmp_path):
    """No file may grow any more once the state is back: a write fails as on a full disk."""
    folder = tmp_path / "drill"
    folder.mkdir()
    identity = words.identity(words.join([box.words]))
    signer = box.signing_key.public_key()
    copy = Copy("disque", "Disque", box.open_disk, identity, signer, BOX_ID, connections=1)
    with ExitStack() as stack:

        def on_step(step: str) -> None:
            if step == "drill-restoring":
                stack.enter_context(no_file_larger_than(1000))

        with pytest.raises(NoSpace):
            rehearse(
                copy,
                box.settings,
                folder,
                wiring.tools(),
                Watch(on_step=on_step),
                now=utc_now,
            )


def test_on_the_command_line_with_words_from_a_descriptor(box):
    """Never in argv; the answer is the sheet, and the sheet can be shown again."""
    armoire = Armoire(box.settings.data)

    ran = armoire("drill", "disque", "--words-fd", 0, "--json", stdin=box.words + "\n")

    assert ran.code == 0, ran.err
    made = ran.body["drill"]
    assert made["outcome"] == "proven"
    assert nothing_left(box)
    assert armoire.json("drill", "--sheet")["drill"] == made
    assert [each["proof"] for each in armoire.json("drill", "--list")["drills"]] == [made["proof"]]
    shown = armoire("drill", "--sheet")
    assert "what came back is what is here" in shown.out.decode()
    wrong = armoire("drill", "--words-fd", 0, "--json", stdin="zzzz " + box.words[5:])
    assert (wrong.code, wrong.body["error"]["code"]) == (1, "kit.word-unknown")
    assert box.words.split()[3] not in wrong.err


def test_without_words_it_says_so_and_leaves_nothing(box):
    """Somebody queued it by hand, or the words were erased meanwhile."""
    job_id, process = box.start(RunDrill(box.target.id))
    process.wait(60)
    assert (box.job(job_id).state, box.job(job_id).error_code) == (
        JobState.FAILED,
        "vault.secret-missing",
    )
    assert nothing_left(box)


def test_after_a_new_kit_its_words_open_what_the_former_ones_sealed(box):
    """A holder left, and a quarter later somebody takes the new sheets."""
    now = utc_now()
    plan = kit_words.KitPlan(1, ("Dr Lenoir",))
    with box.database.write() as connection:
        former = words.join([box.words])
        kit_words.rekey(connection, box.settings, plan, former=former, now=now)
        (sheet,) = kit_documents.sheets_now(connection, box.settings, now=now)
        typed = " ".join(sheet.words)
        kit_words.confirm(connection, [typed], now=now)
    with pytest.raises(SheetOfAnotherKit):
        ask(box)
    ask(box, typed)
    job_id, process = box.start(RunDrill(box.target.id))
    process.wait(120)

    assert box.job(job_id).state is JobState.SUCCEEDED, box.job(job_id)
    assert newest(box).outcome is Outcome.PROVEN


def test_no_copy_of_the_state_holds_the_words_of_a_drill(box):
    """They are asked for in the evening and the night begins: it must not carry them away."""
    ask(box)
    staged = box.folder / "once-more"
    state.stage(box.settings, box.database, staged, box.recipient, now=utc_now())

    copy = open_database(f"sqlite:///{staged / 'state.sqlite'}")
    with copy.read() as connection:
        assert secrets.find_sealed(connection, drill_scratch.WORDS) is None
    copy.close()


def test_a_running_worker_removes_what_a_killed_drill_left(box):
    """Nobody has to begin another one for it."""
    left = box.settings.data / "drill" / "box"
    left.mkdir(parents=True)
    (left / "state.sqlite").write_bytes(b"x")
    armoire = Armoire(box.settings.data)
    worker = armoire.start("worker")
    try:
        until(lambda: not (box.settings.data / "drill").exists(), timeout_s=30)
    finally:
        end(worker)
