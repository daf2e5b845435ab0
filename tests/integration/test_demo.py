"""``armoire demo``: what ``make run`` shows, on a smaller practice; every server real, all ended cleanly."""

import json
import os
import signal
import ssl
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.support.armoire import Armoire, end, until
from tests.support.sshd import free_port

pytestmark = pytest.mark.integration

#: PostgreSQL's own user must reach its cluster, so this is not under pytest's folder (0700, root's).
PATIENTS = "2"


@pytest.fixture(scope="module")
def box():
    """A data folder that other users may pass through, as a clone of the project is."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="armoire-demo-"))
    folder.chmod(0o755)
    yield Armoire(folder / "var", ARMOIRE_LISTEN_PORT=str(free_port()))
    for process in left(folder):
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def left(folder: Path) -> list[psutil.Process]:
    """Processes that name this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(folder) in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_the_first_time_builds_a_practice_proves_two_nights_copies_it_and_does_a_drill(box):
    """Two machines over real SSH, a dumped database, a share, a real SFTP host; nothing is left running."""
    answer = box("demo", "--no-serve", "--patients", PATIENTS, "--json", timeout_s=280)

    assert answer.code == 0, answer.err
    nights = answer.body["nights"]
    assert [len(night["sources"]) for night in nights] == [4, 4]  # the box itself is one
    for night in nights:
        assert {each["proof"] for each in night["sources"]} == {"proven"}
    first, second = ({each["source"]: each["snapshot"] for each in n["sources"]} for n in nights)
    assert first["serveur"]["consistency"] in {"dump", "files"}  # files where PostgreSQL is not
    for name in first:
        if name != "boitier":  # what it knows of itself grows
            assert second[name]["new_bytes"] < first[name]["new_bytes"]
    copy, drill = answer.body["copy"], answer.body["drill"]["drill"]
    assert (copy["generation"], copy["level"]) == (1, "proven")
    assert {copy["proofs"][f"copy.{each}"] for each in ("listing", "read-back", "complete")} == {
        "proven"
    }
    assert copy["proofs"]["copy.tamper"] == "failed"  # a plain account can be emptied: it is said
    assert drill["outcome"] == "proven"
    assert drill["documents"] == drill["documents_same"] > 0
    assert 0 < drill["first_document_s"] < drill["restored_s"]
    assert len(drill["repositories"]) == 3
    assert "Only in this demonstration" not in answer.err  # --json says nothing beside the answer
    assert not (box.data / "drill").exists()
    assert left(box.data) == []


def test_a_later_time_goes_on_with_the_same_practice_serves_it_and_ends_with_ctrl_c(box):
    """One more day and night, then the web interface; afterwards no process and no socket is left."""
    before = len(box.json("snapshots")["snapshots"])
    demo = box.start("demo", "--patients", PATIENTS)
    port = box.environment["ARMOIRE_LISTEN_PORT"]
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE

    def page() -> bytes:
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{port}/", context=unchecked) as answer:
                return answer.read()
        except OSError:
            return b""

    try:
        until(lambda: b"Armoire" in page() or demo.poll() is not None, timeout_s=240, every_s=0.5)
        assert demo.poll() is None, demo.stderr.read()
        # At least: in the evening the worker begins the night that is due by then.
        assert len(box.json("snapshots")["snapshots"]) >= before + 4
        # Of two on one day the policy keeps the newer one.
        assert box.json("generations", "hebergeur")["generations"][0]["number"] >= 2
        assert [each["outcome"] for each in box.json("drill", "--list")["drills"]] == ["proven"] * 2
        assert box.json("status")["level"] == "proven"
        assert box.json("status")["worker"] is True
        running = " ".join(part for each in left(box.data) for part in each.cmdline())
        for part in ("sshd", "reader_main", "worker", "serve"):
            assert part in running
        assert box("demo", "--no-serve", timeout_s=60).code == 1  # one at a time
        assert _propfind(box, f"https://127.0.0.1:{port}/dav/partage", unchecked) == 207
        begun = time.monotonic()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0
        told = demo.stderr.read().decode()
    finally:
        end(demo, signal.SIGKILL)

    assert time.monotonic() - begun < 30
    assert f"https://127.0.0.1:{port}/link#" in told
    assert f"https://127.0.0.1:{port}/dav/partage\n" in told
    until(lambda: left(box.data) == [], timeout_s=10)
    assert not (box.data / "run" / "reader.sock").exists()


def _propfind(box: Armoire, address: str, context: ssl.SSLContext) -> int:
    """Ask the address the demonstration tells for its files, with a password of a program."""
    from base64 import b64encode

    from appliance.accounts import app_passwords, people
    from appliance.accounts.app_passwords import Kind
    from appliance.clock import utc_now
    from appliance.db.engine import open_database
    from appliance.model import Role
    from appliance.settings import Settings

    database = open_database(Settings(data=box.data).database)
    try:
        with database.write() as c:
            who = people.add(
                c, login="anne.martin", name="Anne Martin", role=Role.OWNER, language="fr",
                password_hash=None, now=utc_now(),
            )  # fmt: skip
            words, _ = app_passwords.make(c, who.id, kind=Kind.DAV, label="explorer", now=utc_now())
    finally:
        database.close()
    key = b64encode(f"anne.martin:{words}".encode()).decode()
    request = urllib.request.Request(
        address, method="PROPFIND", headers={"Authorization": f"Basic {key}", "Depth": "1"}
    )
    with urllib.request.urlopen(request, context=context) as answer:
        return answer.status


def test_a_killed_demonstration_leaves_no_server_behind(box):
    """kill -9: the kernel tells its children."""
    demo = box.start("demo", "--no-serve", "--patients", PATIENTS)
    until(lambda: any("sshd_config" in " ".join(e.cmdline()) for e in left(box.data)), every_s=0.05)
    os.kill(demo.pid, signal.SIGKILL)
    end(demo, signal.SIGKILL)

    def servers() -> list[str]:
        names = []
        for each in left(box.data):
            try:
                names.append(each.name())
            except psutil.Error:
                continue
        return [name for name in names if name in {"sshd", "postgres"}]

    until(lambda: servers() == [], timeout_s=20)
    assert json.loads((box.data / "practice" / "practice.json").read_text())["filled"] is True
