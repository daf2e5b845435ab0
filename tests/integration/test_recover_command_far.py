"""After a fire, with the copies far away: a bucket of a real S3 host, and another Armoire that receives.

`armoire recover` and `armoire drill` in processes of their own, as a person types them.
"""

import json
import shutil
import signal
import subprocess
import time
from base64 import urlsafe_b64encode
from contextlib import closing
from urllib.parse import urlencode

import pytest

from appliance.clock import utc_now
from appliance.db import facts, targets
from appliance.errors import TargetIdentityChanged
from appliance.jobs import kit_access, target_setup
from appliance.jobs.kinds import PushCopy, SetUpTarget, TakeSnapshot
from appliance.jobs.target_setup import s3_secret
from appliance.ledger import chain
from appliance.model import BOX_SOURCE, JobState
from appliance.policy.hosting import Nature
from appliance.policy.place import BoxPlace, S3Place
from appliance.replication import takeover
from appliance.replication.targets.s3 import S3Account, S3Target
from appliance.vault.secret import Secret
from tests.support.armoire import Armoire, until
from tests.support.box import Box
from tests.support.burnt_box import LETTER, BurntBox, Fire, Visitor, tree_of
from tests.support.delay import DelayProxy
from tests.support.receiver import Receiver
from tests.support.s3 import ACCESS_KEY, SECRET_KEY

pytestmark = pytest.mark.integration

BUCKET = "after-the-fire"
#: An account of the host for the kit: it may look and read, nothing else.
READER, READER_SECRET = "KITKEY", "KITSECRET"


class FarBox(BurntBox):
    """The practice of ``BurntBox``, copied to a bucket and to another Armoire too."""

    def __init__(self, folder, s3_server) -> None:
        super().__init__(folder, machine_bytes=3_000_000)
        self.s3 = s3_server
        self.processes: list[subprocess.Popen[bytes]] = []
        self.receiver = Receiver(folder).start_process()
        try:
            self._far()
        except BaseException:
            self.close()
            raise

    def _far(self) -> None:
        self.s3._run(
            "radosgw-admin", "user", "create", "--uid=kit", "--display-name=kit",
            f"--access-key={READER}", f"--secret={READER_SECRET}",
        )  # fmt: skip
        account = S3Account(self.s3.endpoint, BUCKET, ACCESS_KEY, Secret(SECRET_KEY.encode()))
        with closing(S3Target(account)) as owner:
            owner.client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
            owner.client.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy()))
        self.bucket = self._add(
            "seau",
            "s3",
            S3Place(
                self.s3.endpoint, "est", BUCKET, prefix="cabinet", lock_mode="GOVERNANCE",
                lock_days=1, connections=2,
            ),
            s3=s3_secret(ACCESS_KEY, SECRET_KEY),
        )  # fmt: skip
        there = BoxPlace(
            "127.0.0.1", "cabinet", self.receiver.port, self.receiver.host_key, connections=2
        )
        self.second = self._add("second", "box", there, key=self.receiver.keys["cabinet"])
        with self.box.database.write() as connection:
            kit_access.set_reading(
                connection, self.box.settings, targets.get(connection, self.bucket.id),
                {"s3": s3_secret(READER, READER_SECRET)}, now=utc_now(),
            )  # fmt: skip
        assert self.box.run(TakeSnapshot(BOX_SOURCE)) is JobState.SUCCEEDED
        for each in (self.bucket, self.second):
            assert self.box.run(PushCopy(each.id)) is JobState.SUCCEEDED

    def _add(self, name: str, kind: str, place, **secrets):
        with self.box.database.write() as connection:
            row = target_setup.add_target(
                connection, self.box.settings, name=name, label=name.title(), kind=kind,
                place=place, nature=Nature.SAME_PRACTICE_ELSEWHERE, distance_km=7,
                secrets=secrets, person=None, now=utc_now(),
            )  # fmt: skip
        assert self.box.run(SetUpTarget(row.id)) is JobState.SUCCEEDED
        with self.box.database.read() as connection:
            return targets.get(connection, row.id)

    def started(self, fire: Fire, *arguments: object) -> "subprocess.Popen[bytes]":
        """Start the command; it does not outlive the test."""
        process = fire.start(*arguments)
        self.processes.append(process)
        return process

    def end(self) -> None:
        """End what a failed test left behind."""
        for each in self.processes:
            if each.poll() is None:
                each.kill()
            each.communicate()
        self.processes.clear()

    def close(self) -> None:
        self.end()
        self.receiver.stop()
        super().close()


def policy() -> dict:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": ["arn:aws:iam:::user/kit"]},
                "Action": ["s3:GetObject", "s3:ListBucket", "s3:ListBucketVersions",
                           "s3:GetObjectVersion"],
                "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
            }
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def practice(tmp_path_factory, s3_server):
    """Its nights, at four places; made once, burnt by each test."""
    made = FarBox(tmp_path_factory.mktemp("practice"), s3_server)
    yield made
    made.close()


@pytest.fixture
def burnt(practice):
    """The copies are all that is left; put back afterwards."""
    yield practice
    practice.end()
    shutil.rmtree(practice.share, ignore_errors=True)
    practice.before_the_fire()


# --- exercises, while the box lives ---------------------------------------------------------------


@pytest.mark.parametrize("place", ["seau", "second"])
def test_an_exercise_from_far_away_is_proven_and_leaves_nothing(practice, place):
    """As a person starts it, at the console; the words go down a descriptor."""
    armoire = Armoire(practice.box.settings.data)

    ran = armoire("drill", place, "--words-fd", 0, "--json", stdin="\n".join(practice.sheets[:2]))

    assert ran.code == 0, (ran.out, ran.err)
    drill = ran.body["drill"]
    assert (ran.body["state"], drill["outcome"]) == ("succeeded", "proven")
    assert {each["check"] for each in drill["repositories"]} == {"right"}
    assert not (practice.box.settings.data / "drill").exists()


# --- the bucket -----------------------------------------------------------------------------------


def link(snapshot: int, path: bytes) -> str:
    coded = urlsafe_b64encode(path).rstrip(b"=").decode()
    return f"/snapshots/{snapshot}/file?{urlencode({'p': coded})}"


def phase(fire: Fire) -> str:
    """How far the command got, as it keeps it; «» before it began."""
    report = fire.data / "recovery-report.json"
    return json.loads(report.read_bytes())["phase"] if report.exists() else ""


def test_from_a_bucket_whose_key_may_only_read_documents_come_first_and_then_all(burnt, tmp_path):
    """A slow line that is cut once; the takeover that could not be told there is told by the first night."""
    machine, snapshot = burnt.machine_source, burnt.newest(burnt.machine_source)
    letter = (burnt.files / LETTER).read_bytes()
    stored = str(burnt.files / LETTER).lstrip("/").encode()
    with DelayProxy(burnt.s3.port, rtt_ms=2, rate_bytes_s=1_500_000) as line:
        endpoint = f"http://127.0.0.1:{line.port}"
        kit = burnt.kit_at(
            tmp_path / "kit",
            only="seau",
            elsewhere={"seau": {"endpoint": endpoint, "connections": 1}},
        )
        burnt.burn()
        fire = Fire(tmp_path / "new", kit, burnt.sheets[1:])
        process = burnt.started(fire)
        browser = Visitor(fire.address)
        until(lambda: phase(fire) == "repositories" or process.poll() is not None, 60, 0.02)
        line.stall()  # however slow this machine is, the browser comes before the repositories
        until(lambda: browser.is_answered() or process.poll() is not None, 60)
        assert process.poll() is None, process.communicate()
        assert browser.sign_in()
        line.resume()
        assert browser.get(link(snapshot, stored)) == (200, letter)
        back = json.loads((fire.data / "recovery.json").read_bytes())["repositories"]
        assert str(machine.id) not in back
        line.cut()
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (out, err)
    sheet = json.loads(out)
    assert sheet["is_whole"], sheet
    assert sheet["documents_read"] >= 1
    assert tree_of(burnt.share) == burnt.tree
    _goes_on(burnt, fire, "seau", is_told=False)


def _goes_on(burnt, fire, name: str, *, is_told: bool) -> None:
    """The new box publishes the next night there; the old one may not write any more."""
    with closing(Box(fire.data, segment_bytes=1 << 20)) as box:
        with box.database.read() as connection:
            assert (name not in (facts.find(connection, takeover.PENDING) or [])) is is_told
            row = targets.get_by_name(connection, name)
        assert box.run(TakeSnapshot(BOX_SOURCE)) is JobState.SUCCEEDED
        assert box.run(PushCopy(row.id)) is JobState.SUCCEEDED
        with box.database.read() as connection:
            assert name not in (facts.find(connection, takeover.PENDING) or [])
            chain.verify(connection)
    burnt.before_the_fire()
    with pytest.raises(TargetIdentityChanged):
        burnt.box.run(PushCopy(row.id))


# --- the second building --------------------------------------------------------------------------


def test_from_the_second_building_killed_and_cut_the_same_command_goes_on(burnt, tmp_path):
    """The command is killed, then the receiving box goes away for a while and comes back."""
    with DelayProxy(burnt.receiver.port, rtt_ms=1, rate_bytes_s=2_000_000) as line:
        kit = burnt.kit_at(
            tmp_path / "kit",
            only="second",
            elsewhere={"second": {"port": line.port, "connections": 1}},
        )
        burnt.burn()
        fire = Fire(tmp_path / "new", kit, burnt.sheets[:2])
        process = burnt.started(fire, "--without-reading")
        progress = fire.data / "recovery.json"
        until(lambda: progress.exists() or process.poll() is not None, 60, 0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)

        process = burnt.started(fire, "--without-reading")
        until(lambda: (fire.data / "state.sqlite").exists() or process.poll() is not None, 60, 0.01)
        assert process.poll() is None, process.communicate()
        burnt.receiver.kill()
        line.cut()
        time.sleep(1)
        assert process.poll() is None, process.communicate()
        burnt.receiver.start_process()
        out, err = process.communicate(timeout=120)

    assert process.returncode == 0, (out, err)
    sheet = json.loads(out)
    assert (sheet["is_whole"], sheet["attempts"]) == (True, 2)
    assert tree_of(burnt.share) == burnt.tree
    _goes_on(burnt, fire, "second", is_told=True)


# --- what does not open ---------------------------------------------------------------------------


def test_a_place_that_does_not_open_is_named_and_another_is_taken(burnt, tmp_path):
    """A stranger answers for the second box, the bucket is not there, the host is silent: the disk is taken."""
    with Receiver(tmp_path) as stranger:
        kit = burnt.kit_at(
            tmp_path / "kit",
            elsewhere={
                "second": {"port": stranger.port},
                "seau": {"bucket": "another-practice"},
                "hebergeur": {"port": 1},
            },
        )
        burnt.burn()
        fire = Fire(tmp_path / "new", kit, burnt.sheets[:2])
        looked = fire.run("--look", "--json")

    assert looked.code == 0, (looked.out, looked.err)
    said = {each["place"]: each["unreachable"] for each in looked.body["places"]}
    assert said == {
        "disque": None,
        "second": "target.identity-changed",
        "seau": "target.refuses",
        "hebergeur": "target.unreachable",
    }
    assert looked.body["proposal"]["place"] == "disque"
    for reason in ("connection refused", "NoSuchBucket", "not the place it was"):
        assert reason in looked.err, looked.err
    for words in (READER_SECRET, SECRET_KEY):
        assert words not in looked.err
    assert not (fire.data / "state.sqlite").exists()
