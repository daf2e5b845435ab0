"""What a line and a host do to a push: cut, stalled, slow, full, a wrong password, another host key."""

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from appliance.db import copies
from appliance.errors import TargetFull, TargetIdentityChanged, TargetRefuses, TargetUnreachable
from appliance.replication.targets import s3 as s3_module
from appliance.replication.targets import sftp as sftp_module
from appliance.vault.secret import Secret
from tests.support.copy_places import Practice, bring_back, generations, place_of, sftp_place
from tests.support.delay import DelayProxy

pytestmark = [pytest.mark.integration, pytest.mark.fault]


@pytest.fixture(params=["sftp", "box", "s3"])
def place(request, tmp_path):
    server = request.getfixturevalue("s3_server") if request.param == "s3" else None
    with place_of(request.param, tmp_path / "place", server) as one:
        yield one


@pytest.fixture(params=["sftp", "s3"])
def host(request, tmp_path):
    """As ``place``; another box is reached by the same client as an SFTP host."""
    server = request.getfixturevalue("s3_server") if request.param == "s3" else None
    with place_of(request.param, tmp_path / "place", server) as one:
        yield one


@pytest.fixture
def sftp(tmp_path):
    with sftp_place(tmp_path / "place") as one:
        yield one


@pytest.fixture
def practice(tmp_path):
    return Practice(tmp_path / "box")


def put_so_far(practice: Practice) -> int:
    with practice.database() as database, database.read() as connection:
        return sum(1 for each in copies.living(connection, practice.target_id) if each.put_at)


def test_a_line_cut_again_and_again_brings_the_push_to_its_end(place, practice, tmp_path):
    """Each try goes on: nothing that was sent whole is sent again."""
    practice.night(files=8, size=300_000)
    chance = random.Random(61)
    tries = cuts = 0
    with DelayProxy(place.port, rtt_ms=0) as line:
        pushed = None
        while pushed is None:
            tries += 1
            assert tries < 30
            left = chance.randrange(150_000, 550_000)  # four of them are less than the whole

            def cut(count: int) -> None:
                nonlocal left, cuts
                left -= count
                if left < 0 and cuts < 4:
                    left, cuts = 1 << 40, cuts + 1
                    line.cut()

            before = put_so_far(practice)
            try:
                pushed = practice.push(
                    lambda: place.open_at(line.port), connections=2, on_bytes=cut
                )
            except TargetUnreachable as error:
                retryable = error.retryable
                assert retryable
                assert generations(place) == []

    assert cuts == 4 or place.kind == "s3"  # its client tries again by itself
    assert pushed.sent_objects <= 8 - before
    assert generations(place) == [1]
    assert bring_back(place, 1, tmp_path / "back") == practice.contents()


def test_a_line_that_stalls_is_given_up_in_time_and_gone_on_with(
    host, practice, tmp_path, monkeypatch
):
    monkeypatch.setattr(sftp_module, "STALL_S", 1.0)
    monkeypatch.setattr(s3_module, "STALL_S", 1.0)
    practice.night(files=4, size=200_000)
    with DelayProxy(host.port, rtt_ms=0) as line:
        stalled = []

        def stall(_count: int) -> None:
            if not stalled:
                stalled.append(time.monotonic())
                line.stall()

        def open_target():
            target = host.open_at(line.port)
            if host.kind == "s3":
                target.client.meta.events.register(
                    "needs-retry.s3", lambda **_more: None, unique_id="none"
                )
            return target

        with pytest.raises(TargetUnreachable):
            practice.push(open_target, on_bytes=stall)
        waited = time.monotonic() - stalled[0]
        line.cut()
        line.resume()

        assert waited < 20
        assert generations(host) == []
        # A second is too short for a busy machine to start another ssh in.
        monkeypatch.setattr(sftp_module, "STALL_S", 60.0)
        monkeypatch.setattr(s3_module, "STALL_S", 60.0)
        practice.push(open_target)
    assert bring_back(host, 1, tmp_path / "back") == practice.contents()


def test_a_slow_line_is_not_a_stalled_one(host, practice, tmp_path, monkeypatch):
    """An object takes three times as long as a stall may last; bytes come all the time."""
    monkeypatch.setattr(sftp_module, "STALL_S", 1.5)
    monkeypatch.setattr(s3_module, "STALL_S", 6.0)  # an answer comes after the whole body
    practice.night(files=1, size=1_200_000)
    with DelayProxy(host.port, rtt_ms=40, rate_bytes_s=450_000) as line:
        began = time.monotonic()
        practice.push(lambda: host.open_at(line.port))
        took = time.monotonic() - began

    assert took > 2.5
    assert bring_back(host, 1, tmp_path / "back") == practice.contents()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_host_that_gets_full_keeps_the_night_before_and_goes_on_once_there_is_room(
    sftp, practice, tmp_path
):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", sftp.root], check=True)
    try:
        practice.night(files=2, size=300_000)
        practice.push(sftp.open)
        practice.night(files=6, size=300_000)
        with pytest.raises(TargetFull):
            practice.push(sftp.open, connections=2)

        assert generations(sftp) == [1]
        assert not list(Path(sftp.root).rglob("generations/0000000002"))
        there = put_so_far(practice)
        subprocess.run(["mount", "-o", "remount,size=20m", sftp.root], check=True)
        pushed = practice.push(sftp.open)

        assert (pushed.number, pushed.sent_objects) == (2, 8 - there)
        assert bring_back(sftp, 2, tmp_path / "back") == practice.contents()
    finally:
        subprocess.run(["umount", "-l", sftp.root], check=True)


def test_a_quota_at_the_other_box_keeps_what_came_and_a_larger_one_takes_the_rest(
    practice, tmp_path
):
    with place_of("box", tmp_path / "place") as place:
        place.server.senders.set_quota("cabinet", 1_500_000)
        practice.night(files=8, size=300_000)
        with pytest.raises(TargetFull):
            practice.push(place.open)
        there = put_so_far(practice)
        assert 0 < there < 8
        assert generations(place) == []

        place.server.senders.set_quota("cabinet", 1 << 30)
        pushed = practice.push(place.open)

        assert pushed.sent_objects == 8 - there
        assert bring_back(place, 1, tmp_path / "back") == practice.contents()


def test_a_wrong_password_is_said_and_nothing_was_tried_with_it_twice(practice, tmp_path):
    config = "PasswordAuthentication yes\nForceCommand internal-sftp"
    with sftp_place(
        tmp_path / "place", config=config, private_key=None, password=Secret(b"wrong")
    ) as place:
        practice.night()
        with pytest.raises(TargetRefuses) as raised:
            practice.push(place.open)

        assert not raised.value.retryable
        assert raised.value.action == "sign in"
        assert place.server.log.count("Failed password") == 1
        assert "wrong password or key" in str(raised.value)
        assert b"wrong" not in str(raised.value).replace("wrong password or key", "").encode()


def test_another_host_key_between_two_nights_stops_the_push_before_anything_is_sent(sftp, practice):
    practice.night()
    practice.push(sftp.open)
    pinned = sftp.open()._account
    before = sorted(path for path in sftp.root.rglob("*"))
    sftp.server.replace_host_key()
    practice.night()

    with pytest.raises(TargetIdentityChanged):
        practice.push(lambda: sftp_module.SftpTarget(pinned))

    assert sorted(path for path in sftp.root.rglob("*")) == before
    assert generations(sftp) == [1]
