"""A machine's whole life by the JSON API alone: added, let in, backed up, proven, restored, downloaded."""

import io
import zipfile

import pytest

from appliance.clock import utc_now
from appliance.jobs import queue
from appliance.jobs.kinds import from_json
from appliance.model import JobState
from appliance.packed import pack_path
from appliance.web.security import COOKIE
from tests.support import share_site
from tests.support.box import Box
from tests.support.reading import ReaderProcess
from tests.support.sshd import SshServer
from tests.support.web_client import at_the_practice

pytestmark = pytest.mark.integration
API = "/api/v1"


@pytest.fixture
def box(tmp_path):
    """A box without a worker: the test runs its jobs."""
    one = Box(tmp_path / "box")
    yield one
    one.close()


@pytest.fixture
def doctor(box):
    """Her program, with her session."""
    with box.database.write() as connection:
        person = share_site.add_doctor(connection, name="Anne Martin", language="en")
        token = share_site.start_session(connection, person)
    with at_the_practice(box.settings, box.database) as client:
        client.cookies.set(COOKIE, token)
        yield client


def run_waiting(box):
    """Run every task that waits, as the worker would, and what follows from it."""
    while True:
        with box.database.read() as connection:
            waiting = [each for each in queue.waiting(connection) if each.not_before <= utc_now()]
        if not waiting:
            return
        assert box.run(from_json(waiting[0].kind, waiting[0].spec)) in {
            JobState.SUCCEEDED,
            JobState.WARNED,
        }


def test_a_machine_is_added_read_proven_and_its_file_brought_back(box, doctor, tmp_path):
    """Each answer says what the next step needs; nothing but the API is asked."""
    folder = tmp_path / "anna"
    folder.mkdir()
    (folder / "letter.txt").write_text("Chère consœur,\n")
    letter = pack_path(str(folder / "letter.txt").lstrip("/").encode())
    with SshServer() as machine, ReaderProcess(box.settings):
        wanted = {
            "label": "Poste d'Anna", "system": "linux", "host": machine.host,
            "port": machine.port, "user": machine.user, "roots": [str(folder)],
        }  # fmt: skip
        made = doctor.post(f"{API}/sources", json=wanted)
        assert made.status_code == 201, made.text
        here = f"{API}/sources/{made.json()['source']['id']}"
        run_waiting(box)
        seen = doctor.get(f"{here}/set-up").json()
        assert (seen["prepared"]["state"], seen["found"]["state"]) == ("done", "done")
        assert seen["offered_key"] == machine.host_key
        (line,) = [
            line for step in seen["instructions"] for line in step["lines"] if "ssh-ed25519" in line
        ]
        machine.authorize(line[line.index("ssh-ed25519") :].split("'")[0])
        key = {"key": seen["offered_key"]}
        assert doctor.put(f"{here}/host-key", json=key).json()["is_confirmed"]
        doctor.post(f"{here}/set-up", json={"what": "check"})
        run_waiting(box)
        tried = doctor.get(f"{here}/set-up").json()
        assert tried["tried"]["state"] == "done", tried
        assert {each["outcome"] for each in tried["checks"]} <= {"ok", "warning", "skipped"}

        assert doctor.post(f"{here}/snapshots").status_code == 202
        run_waiting(box)
        told = doctor.get(here).json()
        assert told["snapshots"] == 1
        proofs = {each["kind"]: each["outcome"] for each in told["source"]["proofs"]}
        assert proofs["snapshot.sample"] == "proven"
        (night,) = doctor.get(f"{here}/snapshots").json()

        (folder / "letter.txt").unlink()
        asked = doctor.post(
            f"{API}/snapshots/{night['id']}/restore",
            json={"paths": [letter], "to": "machine-original", "requested_by": "Dr Petit"},
        )
        run_waiting(box)
        task = doctor.get(f"{API}/jobs/{asked.json()['id']}").json()
        assert task["state"] == "succeeded"
        assert (folder / "letter.txt").read_text() == "Chère consœur,\n"
        (sheet,) = doctor.get(f"{API}/restores").json()
        assert (sheet["job_id"], sheet["check"], sheet["files"]) == (task["id"], "proven", 1)
        whole = doctor.get(f"{API}/restores/{sheet['id']}").json()
        assert [each["name"] for each in whole["paths"]] == [str(folder / "letter.txt")]

        zipped = doctor.post(f"{API}/snapshots/{night['id']}/zip", json={"paths": [letter]})
        with zipfile.ZipFile(io.BytesIO(zipped.content)) as opened:
            (name,) = opened.namelist()
            assert opened.read(name).decode() == "Chère consœur,\n"
        assert len(doctor.get(f"{API}/restores").json()) == 2
