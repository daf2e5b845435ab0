"""A night of copies through the real jobs: sent to each kind of place, proven there, and made into a box again."""

import itertools

import pytest

from appliance.model import JobState
from appliance.policy.status import Level
from tests.support.copies_box import CopiesBox
from tests.support.receiver import Receiver
from tests.support.sshd import SshServer

pytestmark = pytest.mark.integration
_names = itertools.count(1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One box for the whole file: every test adds places of its own."""
    made = CopiesBox(tmp_path_factory.mktemp("copies"))
    made.confirm_kit()
    yield made
    made.close()


@pytest.fixture
def box(shared):
    return shared


@pytest.fixture(params=["directory", "sftp", "box", "s3"])
def place(request, box, tmp_path):
    """A target of each kind, ready to be sent to."""
    name = f"lieu-{next(_names)}"
    match request.param:
        case "directory":
            yield box.add_disk(tmp_path / "disk", name, f"{next(_names):032x}")
        case "sftp":
            with SshServer(config="ForceCommand internal-sftp") as host:
                yield box.add_sftp(host, tmp_path / "host", name)
        case "box":
            folder = tmp_path / "second"
            folder.mkdir()
            with Receiver(folder) as receiver:
                yield box.add_box(receiver, name)
        case "s3":
            server = request.getfixturevalue("s3_server")
            yield box.add_bucket(server, f"nuits-{next(_names)}", lock_days=2, name=name)


def test_a_box_is_sent_proven_and_comes_back_from_every_kind_of_place(box, place, tmp_path):
    """Two nights: the second sends what changed; Borg accepts what comes back of both repositories."""
    assert box.push(place) is JobState.SUCCEEDED
    assert box.status(place).level is Level.UNKNOWN  # sent is not proven
    assert box.verify(place, full=True) is JobState.SUCCEEDED
    first = box.status(place)
    box.night()
    assert box.push(place) is JobState.SUCCEEDED
    assert box.verify(place) is JobState.SUCCEEDED

    status = box.status(place)
    assert first.level is status.level is Level.PROVEN, status.reasons
    assert status.newest_number == 2
    assert status.last_push.result["reused_objects"] > 0
    assert status.last_push.result["sent_bytes"] < first.published_bytes
    assert first.read_back_since is not None
    assert box.proof(place, "copy.complete").figures["missing"] == 0
    assert box.bring_back(place, box.share, tmp_path / "share") == box.archives(box.share)
    assert box.bring_back(place, box.state, tmp_path / "state") == box.archives(box.state)
    assert (tmp_path / "state" / "passphrase.age").exists()
    assert not (box.settings.data / "copies").exists() or not any(
        (box.settings.data / "copies").iterdir()
    )
