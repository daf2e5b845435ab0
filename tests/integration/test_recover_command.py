"""After a fire: `armoire recover` in a process of its own, on a new machine, from the copies alone."""

import json
import os
import pty
import random
import select
import shutil
import socket
import ssl
import subprocess
import time
from base64 import urlsafe_b64encode
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest

from appliance.backup_jobs.borg_library import open_repository
from appliance.clock import utc_now
from appliance.db import facts, shares, snapshots, sources, targets
from appliance.errors import TargetIdentityChanged
from appliance.jobs import recovery_status
from appliance.jobs.kinds import PushCopy, RestoreFiles, TakeSnapshot
from appliance.ledger import chain
from appliance.model import BOX_SOURCE, JobState
from appliance.packed import pack_path
from appliance.replication import takeover
from appliance.settings import Settings
from appliance.vault.words import make_secret, split
from appliance.worker.tasks import smb_plan
from tests.support.armoire import PROGRAM, ROOT, until
from tests.support.box import Box
from tests.support.burnt_box import LETTER, BurntBox, Fire, Visitor, tree_of
from tests.support.delay import DelayProxy

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def practice(tmp_path_factory):
    """One night, on a disk and at an SFTP host; made once, burnt by each test."""
    made = BurntBox(tmp_path_factory.mktemp("practice"))
    yield made
    made.close()


@pytest.fixture
def burnt(practice):
    """The copies are all that is left; put back afterwards."""
    yield practice
    shutil.rmtree(practice.share, ignore_errors=True)
    practice.before_the_fire()


def link(snapshot: int, path: bytes) -> str:
    coded = urlsafe_b64encode(path).rstrip(b"=").decode()
    return f"/snapshots/{snapshot}/file?{urlencode({'p': coded})}"


def repositories_back(fire: Fire) -> set[str]:
    return set(json.loads((fire.data / "recovery.json").read_bytes())["repositories"])


def test_a_document_is_read_before_its_repository_is_back_and_then_everything_is_there(
    burnt, tmp_path
):
    """The whole road: slow line, browser, files with rights and attributes, the next night, the takeover."""
    machine, snapshot = burnt.machine_source, burnt.newest(burnt.machine_source)
    letter = (burnt.files / LETTER).read_bytes()
    stored = str(burnt.files / LETTER).lstrip("/").encode()
    with DelayProxy(burnt.host.port, rtt_ms=2, rate_bytes_s=1_500_000) as line:
        kit = burnt.kit_at(tmp_path / "kit", only="hebergeur", port=line.port, connections=1)
        burnt.burn()
        fire = Fire(tmp_path / "new", kit, burnt.sheets[1:])  # the first sheet burnt too
        process = fire.start()
        browser = Visitor(fire.address)
        until(lambda: browser.is_answered() or process.poll() is not None, 60)
        assert process.poll() is None, process.communicate()

        assert browser.sign_in(), "the password of before opens the account of before"
        assert _is_trusted(fire.port, burnt.authority), "devices know the new box already"
        status, body = browser.get(link(snapshot, stored))
        back_then = repositories_back(fire)
        assert (status, body) == (200, letter)
        assert str(machine.id) not in back_then

        status, page = browser.get("/recovery")
        assert status == 200
        assert b"The box is being made again" in page or "Le boîtier est en".encode() in page
        status, page = browser.post(f"/sources/{machine.id}/back-up")
        assert status == 409
        assert b"access.reading-only" in page
        status, page = browser.get("/sources")
        assert b"/recovery" in page
        status, _ = browser.get("/live/recovery")
        assert status == 200
        line.cut()  # somebody trips over the cable: it goes on by itself
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (out, err)
    sheet = json.loads(out)

    assert sheet["phase"] == "done"
    assert sheet["is_whole"], sheet
    assert sheet["documents_read"] >= 1
    assert sheet["state_at"] < sheet["readable_at"] < sheet["finished_at"]
    assert tree_of(burnt.share) == burnt.tree
    assert not (fire.data / ".recovery-cache").exists()
    _goes_on(burnt, fire)


def _is_trusted(port: int, authority: str) -> bool:
    """Whether a device that trusted the old box's authority trusts what is served there."""
    context = ssl.create_default_context(cadata=authority)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as line,
        context.wrap_socket(line, server_hostname="localhost") as secured,
    ):
        return secured.getpeercert() is not None


def _goes_on(burnt: BurntBox, fire: Fire) -> None:
    """The new box takes the next night and publishes it; the old one may not write any more."""
    box = Box(fire.data, segment_bytes=1 << 20)
    with closing(box):
        (burnt.files / "nouveau.txt").write_text("après le feu")
        machine = box.source(burnt.machine_source)
        assert box.take(machine) is JobState.SUCCEEDED  # its SSH key opens the machine at once
        with open_repository(
            box.repository_path(machine), box.passphrase(machine), box.settings.borg_home
        ) as repository:
            assert len(repository.archives()) == 3
        assert box.run(TakeSnapshot(BOX_SOURCE)) is JobState.SUCCEEDED
        with box.database.write() as connection:
            row = targets.get_by_name(connection, "hebergeur")
            targets.change(connection, row.id, place={**row.place, "port": burnt.host.port})
        assert box.run(PushCopy(row.id)) is JobState.SUCCEEDED
        with box.database.read() as connection:
            assert "hebergeur" not in (facts.find(connection, takeover.PENDING) or [])
            chain.verify(connection)
            assert [each.event for each in chain.newest(connection, event="share.recovered")]
    burnt.before_the_fire()
    with pytest.raises(TargetIdentityChanged):
        burnt.box.run(PushCopy(burnt.host_target.id))
    (burnt.files / "nouveau.txt").unlink()


def disk_of(burnt: BurntBox, place: Path) -> Path:
    """The disk that lay at the doctor's home."""
    return Path(shutil.copytree(burnt.disk, place))


def test_killed_at_random_moments_the_same_command_goes_on(burnt, tmp_path):
    """SIGKILL wherever it is; the box and the share come back once, whole, and nothing starts in between."""
    dice = random.Random(4)
    disk = disk_of(burnt, tmp_path / "disk")
    kit = burnt.kit_at(tmp_path / "kit", only="disque")
    burnt.burn()
    fire = Fire(tmp_path / "new", kit, burnt.sheets[:2])
    killed = unfinished = 0
    report = fire.data / "recovery-report.json"
    for _ in range(4):
        before = report.stat().st_mtime_ns if report.exists() else 0
        process = fire.start("--disk", disk)
        until(lambda since=before: report.exists() and report.stat().st_mtime_ns > since, 120, 0.01)
        time.sleep(dice.uniform(0.0, 1.2))
        if process.poll() is None:
            process.kill()
            killed += 1
        process.communicate(timeout=30)
        if recovery_status.is_unfinished(Settings(data=fire.data)):
            unfinished += 1
            refused = fire.armoire("run", "--json")
            assert refused.code == 1
            assert refused.body["error"]["code"] == "box.recovery-unfinished"
    assert killed >= 3
    assert unfinished >= 3

    done = fire.run("--disk", disk, "--json")

    assert done.code == 0, (done.out, done.err)
    sheet = done.body
    assert sheet["is_whole"]
    assert sheet["attempts"] > killed
    assert tree_of(burnt.share) == burnt.tree
    box = Box(fire.data)
    with closing(box), box.database.read() as connection:
        chain.verify(connection)
        assert len(chain.newest(connection, event="box.recovered")) == 1
        assert len(chain.newest(connection, event="box.recovery-finished")) == 1
        for source in (burnt.machine_source, burnt.share_source):
            checked = box.borg(source, "check", "--verify-data", str(box.repository_path(source)))
            assert checked.returncode == 0, checked.stderr
    again = fire.armoire("recover", "--json")  # neither kit nor words: it is done
    assert (again.code, again.body["finished_at"]) == (0, sheet["finished_at"])


def test_without_the_newest_objects_an_older_night_is_taken_and_the_loss_is_said(burnt, tmp_path):
    """An object of the newest generation is gone; what people wrote into the share meanwhile stays theirs."""
    disk = disk_of(burnt, tmp_path / "disk")
    kit = burnt.kit_at(tmp_path / "kit", only="disque")
    fresh = [
        each
        for each in (disk / "objects").rglob("*")
        if each.is_file() and each.name not in burnt.first_objects
    ]
    max(fresh, key=lambda each: each.stat().st_size).unlink()
    burnt.burn()
    burnt.share.mkdir()
    (burnt.share / "grand.bin").write_bytes(b"someone works here again")
    fire = Fire(tmp_path / "new", kit, burnt.sheets[::2])

    looked = fire.run("--disk", disk, "--look", "--json")
    assert (looked.code, looked.body["proposal"]["number"]) == (0, 1)
    assert not (fire.data / "state.sqlite").exists()
    done = fire.run("--disk", disk, "--without-reading", "--first", "accueil", "--json")

    assert done.code == 0, (done.out, done.err)
    sheet = done.body
    assert sheet["number"] == 1
    assert sheet["lost_s"] >= 1
    assert any("lacks" in text for text, _ in sheet["remarks"])
    assert [each["label"] for each in sheet["repositories"][1:]] == ["Accueil", "Partage"]
    (share,) = sheet["shares"]
    assert (share["left_alone"], share["failed"]) == (1, 0)
    assert (burnt.share / "grand.bin").read_bytes() == b"someone works here again"
    left, known = tree_of(burnt.share), dict(burnt.tree)
    for tree in (left, known):
        del tree["grand.bin"]
    assert left == known


def test_wrong_words_are_named_and_change_nothing(burnt, tmp_path):
    """Which sheet, which word; another kit's file; one sheet where two are needed."""
    kit = burnt.kit_at(tmp_path / "kit")
    fire = Fire(tmp_path / "new", kit, burnt.sheets[:2])
    words = burnt.sheets[1].split()
    unknown = " ".join([*words[:6], "zebrastripe", *words[7:]])
    swapped = " ".join([*words[:3], "academic" if words[3] != "academic" else "acid", *words[4:]])
    stranger = split(make_secret(), needed=1, sheets=1)

    def refused(sheets: list[str]) -> dict:
        ran = fire.run("--json", sheets=sheets)
        assert ran.code == 1, ran
        return ran.body["error"]

    error = refused([burnt.sheets[0], unknown])
    assert (error["code"], error["facts"]["sheet"], error["facts"]["position"]) == (
        "kit.word-unknown", 2, 7,
    )  # fmt: skip
    error = refused([burnt.sheets[0], swapped])
    assert (error["code"], error["facts"]["sheet"], error["facts"]["position"]) == (
        "kit.words-wrong", 2, 4,
    )  # fmt: skip
    assert refused([burnt.sheets[2]])["code"] == "kit.sheet-missing"
    assert refused([burnt.sheets[2]] * 2)["code"] == "kit.sheet-twice"
    assert refused(stranger)["code"] == "kit.does-not-open"
    assert not (fire.data / "state.sqlite").exists()
    assert not (fire.data / "recovery-report.json").exists()


def test_a_living_box_is_never_recovered_over(burnt, tmp_path):
    """Before anybody types forty words."""
    kit = burnt.kit_at(tmp_path / "kit")
    fire = Fire(burnt.box.settings.data, kit, [])

    ran = fire.run("--json")

    assert (ran.code, ran.body["error"]["code"]) == (2, "input.already-exists")


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_a_share_that_cannot_come_back_is_tried_again_without_words(burnt, tmp_path, is_elsewhere):
    """Its disk is mounted a day later, or another one; the rest of the box did not wait for it."""
    disk = disk_of(burnt, tmp_path / "disk")
    kit = burnt.kit_at(tmp_path / "kit", only="disque")
    burnt.burn()
    burnt.share.write_text("not a folder")
    fire = Fire(tmp_path / "new", kit, burnt.sheets[:2])

    first = fire.run("--disk", disk, "--without-reading", "--json")
    place = burnt.share
    if is_elsewhere:
        place = tmp_path / "another disk"
        place.mkdir()
        wrong = fire.armoire("recover", f"--share=personne={place}", "--json")
        assert wrong.body["error"]["code"] == "input.not-found"
        again = fire.armoire("recover", f"--share=partage={place}", "--json")
        burnt.share.unlink()
    else:
        burnt.share.unlink()
        again = fire.armoire("recover", "--json")

    assert (first.code, first.body["is_whole"]) == (3, False)
    assert first.body["shares"][0]["state"] == "failed"
    assert not recovery_status.is_unfinished(Settings(data=fire.data))
    assert (again.code, again.body["is_whole"]) == (0, True), again
    assert tree_of(place) == burnt.tree


def test_a_share_comes_back_to_another_folder_and_its_doors_and_nights_follow(burnt, tmp_path):
    """Its disk burnt too. Killed, the same command goes on there without being told again."""
    disk = disk_of(burnt, tmp_path / "disk")
    kit = burnt.kit_at(tmp_path / "kit", only="disque")
    burnt.burn()
    fire = Fire(tmp_path / "new", kit, burnt.sheets[:2])
    taken, place = tmp_path / "taken", tmp_path / "another disk"
    taken.mkdir()
    (taken / "of somebody.txt").write_text("mine")
    place.mkdir()
    (place / "lost+found").mkdir()  # a file system of its own begins with it

    def refused(*given: object) -> tuple[str, dict]:
        ran = fire.run("--disk", disk, "--json", *(f"--share={each}" for each in given))
        assert ran.code in {1, 2}, ran
        assert not (fire.data / "state.sqlite").exists()
        return ran.body["error"]["code"], ran.body["error"]["facts"]

    for wrong in (f"partage={taken}", f"partage={fire.data}/repositories", "partage", "partage=a"):
        assert refused(wrong)[0] == "input.invalid", wrong
    assert refused(f"partage={place}", f"autre={place}/below")[0] == "input.invalid"
    assert refused(f"personne={place}")[0] == "input.not-found"
    asked = ("--disk", disk, "--without-reading")
    process = fire.start(*asked, f"--share=partage={place}")
    report = fire.data / "recovery-report.json"
    until(lambda: report.exists() or process.poll() is not None, 60, 0.005)
    process.kill()
    process.communicate(timeout=30)

    done = fire.run(*asked, "--json")

    assert (done.code, done.body["is_whole"]) == (0, True), (done.out, done.err)
    assert done.body["shares"][0]["root"] == str(place)
    (place / "lost+found").rmdir()
    left, known = tree_of(place), dict(burnt.tree)
    assert {name: each for name, each in left.items() if name != "."} == {
        name: each for name, each in known.items() if name != "."
    }
    assert (left["."][1], left["."][4], left["."][5]) == (
        known["."][1], known["."][4], known["."][5],
    )  # fmt: skip
    assert not burnt.share.exists()
    with closing(Box(fire.data)) as box:
        with box.database.read() as connection:
            (share,) = shares.all_living(connection)
            assert share.folder == place
            assert [each.folder for each in smb_plan.wanted(connection, now=utc_now()).shares] == [
                str(place)
            ]
            source = sources.get_by_name(connection, "partage")
            night = snapshots.newest(connection, source.id).id
            assert [each.event for each in chain.newest(connection, event="share.moved")]
        assert source.roots == (str(place),)
        (place / "nouveau.txt").write_text("ailleurs")
        assert box.take(source) is JobState.SUCCEEDED
        # A file of a night before the fire goes back to where the share lies now.
        letter = "Courriers/Été 2026/lettre 7.txt"
        (place / letter).unlink()
        former = pack_path(os.fsencode(burnt.share / letter).lstrip(b"/"))
        spec = RestoreFiles(source.id, night, (former,), "machine")
        assert box.run(spec) is JobState.SUCCEEDED
        assert (place / letter).read_text() == "7\n" * 3000
    again = fire.armoire("recover", f"--share=partage={taken}", "--json")
    assert again.body["error"]["code"] == "input.invalid"  # it is back, and stays there


def test_on_a_terminal_the_words_are_asked_for_one_is_mended_and_the_screen_forgets(
    burnt, tmp_path
):
    """The road of a person: two sheets, one slip of the pen, and «no» at the end."""
    disk = disk_of(burnt, tmp_path / "disk")
    kit = burnt.kit_at(tmp_path / "kit", only="disque")
    fire = Fire(tmp_path / "new", kit, [])
    first, second = (sheet.split() for sheet in burnt.sheets[:2])
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "recover", "--kit", str(kit), "--disk", str(disk)],
        env={**fire.armoire.environment, "TERM": "xterm", "COLUMNS": "100"},
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = ""

    def wait_for(text: str) -> None:
        nonlocal seen
        limit = time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < limit, seen
            if select.select([ours], [], [], 0.2)[0]:
                seen += os.read(ours, 65_536).decode("utf-8", "replace")

    def answer(line: str) -> None:
        nonlocal seen
        seen = ""
        os.write(ours, line.encode() + b"\n")

    wait_for(" 1> ")
    answer(" ".join([*first[:8], "wordless", *first[9:]]))
    wait_for(" 9> ")
    assert "Sheet 1: word number 9" in seen
    assert "A\r\x1b[J" in seen  # the line that was typed is wiped
    answer(first[8])
    wait_for("Sheet 2")
    wait_for(" 1> ")
    answer(" ".join(second))
    wait_for("[y/N]")
    assert "Proposed: generation 2" in seen
    answer("n")
    wait_for("Nobody said yes")
    assert process.wait(30) == 2
    os.close(ours)
    assert not (fire.data / "state.sqlite").exists()
