"""After a fire: `armoire recover` in a process of its own, on a new machine, from the copies alone."""

import json
import shutil
from base64 import urlsafe_b64encode
from contextlib import closing
from urllib.parse import urlencode

import pytest

from appliance.backup_jobs.borg_library import open_repository
from appliance.db import facts, targets
from appliance.errors import TargetIdentityChanged
from appliance.jobs.kinds import PushCopy, TakeSnapshot
from appliance.ledger import chain
from appliance.model import BOX_SOURCE, JobState
from appliance.replication import takeover
from tests.support.armoire import until
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
            assert len(repository.archives()) == 2
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
