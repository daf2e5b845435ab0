"""``armoire repository mend``: a share's damaged segment comes back from a copy with the words of the sheets."""

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout

import pytest

from appliance import cli
from appliance.clock import utc_now
from appliance.errors import RepositoryDamaged
from appliance.jobs import queue
from appliance.jobs.kinds import CheckRepository
from appliance.ledger import chain, proofs
from appliance.model import JobState, Outcome
from appliance.replication import kit
from appliance.vault import words
from tests.support.copies_box import CopiesBox

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    made = CopiesBox(tmp_path_factory.mktemp("mend"))
    made.disk = made.add_disk(made.folder / "disk")
    assert made.push(made.disk) is JobState.SUCCEEDED
    with made.database.write() as connection:
        sheets = kit.split(connection, made.settings.keys, needed=1, holders=["moi"], now=utc_now())
        # What waits would run beside the commands below.
        connection.exec_driver_sql("DELETE FROM job WHERE state = 'queued'")
    made.words = " ".join(sheets[0].words)
    yield made
    made.close()


@pytest.fixture
def armoire(box, monkeypatch):
    """Runs a command in this process, the words on a descriptor; returns its code and its body."""
    monkeypatch.setattr("os.umask", lambda _mask: 0o022)
    monkeypatch.setenv("ARMOIRE_FREE_BYTES_FLOOR", "1")

    def run(*argv, typed=box.words):
        reading, writing = os.pipe()
        os.write(writing, typed.encode() + b"\n")
        os.close(writing)
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            code = cli.run(
                ["repository", "mend", *argv, "--words-fd", str(reading), "--json",
                 "--data", str(box.settings.data)]
            )  # fmt: skip
        return code, json.loads(out.getvalue())

    return run


def damaged_segment(box, source=None):
    """Flip one bit in the middle of the largest segment, as an old disk does; return it and what was right."""
    folder = box.repository_path(source or box.share) / "data"
    victim = max(
        (one for one in folder.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size
    )
    right = victim.read_bytes()
    data = bytearray(right)
    data[len(data) // 2] ^= 1
    before = victim.stat()
    victim.write_bytes(data)
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    return victim, right


def test_damage_is_fetched_back_read_again_and_said(box, armoire):
    """From the check that finds it to the proof that everything is right again."""
    victim, right = damaged_segment(box)
    wrong = victim.read_bytes()
    path = victim.relative_to(box.repository_path(box.share)).as_posix()
    with pytest.raises(RepositoryDamaged):
        box.run(CheckRepository(box.share.id, full=True))
    with box.database.read() as connection:
        job = queue.newest(connection, kind=CheckRepository.kind, limit=1)[0]
        notes = " ".join(one.text for one in queue.notes(connection, job.id))
        proof = proofs.latest(connection, box.share.id, "repository.check")
    assert "repository mend" in notes
    assert int(victim.name) in proof.figures["segments"]

    code, body = armoire(box.share.name, "--dry-run")
    assert (code, [each["path"] for each in body["suspects"]]) == (3, [path])
    assert victim.read_bytes() == wrong

    code, body = armoire(box.share.name)

    assert (code, body["mended"], body["failed"]) == (0, [path], {})
    assert victim.read_bytes() == right
    with box.database.read() as connection:
        assert proofs.latest(connection, box.share.id, "repository.data").outcome is Outcome.PROVEN
        (entry,) = [one for one in chain.entries(connection) if one.event == "repository.mended"]
    assert entry.subject == f"source:{box.share.id}"
    assert armoire(box.share.name)[0] == 0  # nothing left to do


def test_words_of_another_kit_mend_nothing(box, armoire):
    """They are right words, and not ours: said, and nothing is touched."""
    other = words.split(words.make_secret(), needed=1, sheets=1)[0]
    victim, right = damaged_segment(box)
    wrong = victim.read_bytes()

    code, body = armoire(box.share.name, typed=other)

    assert code != 0
    assert body["error"]["code"] == "kit.sheet-of-another-kit"
    assert victim.read_bytes() == wrong
    victim.write_bytes(right)


def test_a_copy_that_is_away_is_named_and_nothing_is_touched(box, armoire):
    """A disk in a drawer: said which, with its reason."""
    (box.folder / "disk").rename(box.folder / "drawer")
    try:
        code, body = armoire(box.share.name)
    finally:
        (box.folder / "drawer").rename(box.folder / "disk")
    assert code != 0
    assert body["error"]["code"] == "target.nothing-to-recover"
    assert "target." in body["error"]["facts"]["reason"]


def test_the_state_of_the_box_is_mended_too(box, armoire):
    """Its repository is one of the copy's, number 0."""
    victim, right = damaged_segment(box, box.state)

    code, body = armoire(box.state.name)

    path = victim.relative_to(box.repository_path(box.state)).as_posix()
    assert (code, body["mended"]) == (0, [path])
    assert victim.read_bytes() == right
