"""The nightly tamper test, on real places: what is claimed about them is what was seen."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from appliance.errors import ObjectMissing, TargetListUnreadable, TargetUnreachable
from appliance.policy.immutability import EXPECTED, Action, Outcome
from appliance.replication.tamper import is_canary, tamper_test
from appliance.replication.targets.directory import DirectoryTarget, DiskLabel, write_label
from appliance.replication.targets.sftp import SftpAccount, SftpTarget
from appliance.vault.secret import Secret
from tests.contract.target_contract import content, sealed
from tests.support.receiver import Receiver
from tests.support.sshd import SshServer, make_key

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)


def outcomes(result) -> dict[Action, Outcome]:
    return {each.action: each.outcome for each in result.attempts}


@pytest.fixture
def disk(tmp_path):
    root = tmp_path / "disk"
    root.mkdir()
    write_label(root, DiskLabel("disk-1", "box-1", "Lundi", NOW.date()))
    return DirectoryTarget(root, disk_id="disk-1", box_id="box-1", today=date(2026, 11, 23))


@pytest.fixture
def host(tmp_path):
    """A plain SFTP account, as hosts give it."""
    root = tmp_path / "host"
    root.mkdir()
    public = make_key(tmp_path / "id")
    with SshServer(config="ForceCommand internal-sftp") as server:
        server.authorize(public)
        target = SftpTarget(
            SftpAccount(
                server.host,
                server.port,
                server.user,
                server.host_key,
                folder=str(root),
                private_key=Secret((tmp_path / "id").read_bytes()),
            )
        )
        yield target, server
        target.close()


@pytest.fixture
def box(tmp_path):
    with Receiver(tmp_path) as receiver:
        yield receiver


def test_a_disk_is_shown_as_it_is(disk, tmp_path):
    disk.create("objects/one", sealed(tmp_path, b"one"))

    result = tamper_test(disk, spool=tmp_path / "spool", now=NOW)

    assert not result.is_immutable
    assert outcomes(result) == dict.fromkeys(EXPECTED["directory"], Outcome.DONE)
    assert content(disk, "objects/one") == b"one"


def test_a_plain_sftp_host_can_be_emptied_with_our_key_and_it_is_said(host, tmp_path):
    target, _ = host
    target.create("objects/one", sealed(tmp_path, b"one"))

    result = tamper_test(target, spool=tmp_path / "spool", now=NOW)

    assert not result.is_immutable
    assert outcomes(result) == dict.fromkeys(EXPECTED["sftp"], Outcome.DONE)
    assert set(result.judgement.done) == set(EXPECTED["sftp"])
    assert "emptied with our key" in result.judgement.text
    assert content(target, "objects/one") == b"one"
    assert list((tmp_path / "spool").iterdir()) == []


def test_another_box_refuses_everything_and_keeps_the_same_canary(box, tmp_path):
    target = box.target()
    target.create("objects/one", sealed(tmp_path, b"one"))

    results = [tamper_test(target, spool=tmp_path / "spool", now=NOW) for _ in range(2)]

    for result in results:
        assert result.is_immutable
        assert outcomes(result) == dict.fromkeys(EXPECTED["box"], Outcome.REFUSED)
    canaries = [info.name for info in target.list() if is_canary(info.name)]
    assert canaries == ["canary/0000000001"]
    assert [path.name for path in (box.place() / "canary").iterdir()] == ["0000000001"]
    assert content(target, "objects/one") == b"one"


def test_what_is_stored_as_a_proof_holds_no_path_and_no_secret(box, host, tmp_path):
    target, _ = host
    for result in (
        tamper_test(box.target(), spool=tmp_path / "spool", now=NOW),
        tamper_test(target, spool=tmp_path / "spool", now=NOW),
    ):
        text = json.dumps(result.body)
        assert str(tmp_path) not in text
        assert "PRIVATE" not in text
        assert json.loads(text)["immutable"] == result.is_immutable


def test_a_canary_somebody_else_touched_is_replaced_and_not_believed(box, tmp_path):
    target = box.target()
    tamper_test(target, spool=tmp_path / "spool", now=NOW)
    path = box.place() / "canary" / "0000000001"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"armoire", b"ARMOIRE"))

    result = tamper_test(target, spool=tmp_path / "spool", now=NOW)

    assert result.is_immutable
    assert sorted(info.name for info in target.list()) == [
        "canary/0000000001",
        "canary/0000000002",
    ]


def test_a_line_that_is_lost_on_the_way_proves_nothing(box, tmp_path):
    """Refused because the line was cut is not refused by the host."""
    target = box.target()
    tamper_test(target, spool=tmp_path / "spool", now=NOW)
    bare = target.bare
    calls = [0]

    def leaving(name):
        calls[0] += 1
        found = bare(name)
        if calls[0] == 3:
            box.stop()
        return found

    target.bare = leaving
    result = tamper_test(target, spool=tmp_path / "spool", now=NOW)

    assert not result.is_immutable
    assert result.attempts[-1].outcome is Outcome.UNKNOWN
    assert result.judgement.unknown


def test_a_place_that_is_gone_is_said(box, tmp_path):
    target = box.target()
    box.stop()

    with pytest.raises((TargetUnreachable, TargetListUnreadable)):
        tamper_test(target, spool=tmp_path / "spool", now=NOW)


def test_a_host_that_says_no_and_does_it_is_seen(box, tmp_path):
    """What counts is what is still there."""
    target = box.target()
    tamper_test(target, spool=tmp_path / "spool", now=NOW)
    bare = target.bare

    class Lying:
        def __init__(self, client):
            self._client = client

        def __getattr__(self, name):
            return getattr(self._client, name)

        def remove(self, path):
            (box.place() / path).unlink()
            raise PermissionError(13, "Permission denied")

    target.bare = lambda name: (Lying(bare(name)[0]), bare(name)[1])
    result = tamper_test(target, spool=tmp_path / "spool", now=NOW)

    assert outcomes(result)[Action.DELETE] is Outcome.DONE
    assert not result.is_immutable
    with pytest.raises(ObjectMissing):
        content(target, "canary/0000000001")


def test_the_test_is_dated(disk, tmp_path):
    result = tamper_test(disk, spool=tmp_path / "spool", now=NOW + timedelta(days=1))

    assert result.tested_at == NOW + timedelta(days=1)
