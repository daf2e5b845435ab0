"""An SFTP target on a real OpenSSH server: the contract, and what only a host can do wrong."""

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from appliance.errors import (
    TargetFull,
    TargetIdentityChanged,
    TargetListUnreadable,
    TargetRefuses,
    TargetUnreachable,
)
from appliance.replication.targets.sftp import SftpAccount, SftpTarget
from appliance.vault.secret import Secret
from tests.contract.target_contract import Place, TargetContract, content, sealed
from tests.support.sshd import SshServer, make_key

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "id"
    return make_key(path), Secret(path.read_bytes())


@pytest.fixture(scope="module")
def server(key):
    """A server whose account has no shell, only SFTP."""
    with SshServer(config="ForceCommand internal-sftp") as one:
        one.authorize(key[0])
        yield one


@pytest.fixture
def host(server, tmp_path):
    """The server, running, and an empty folder of this test's own."""
    root = tmp_path / "host"
    root.mkdir()
    if not server.running:
        server.start()
    return server, root


@pytest.fixture
def open_target(host, key):
    server, root = host
    opened: list[SftpTarget] = []

    def open_one(**more) -> SftpTarget:
        values = {
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "host_key": server.host_key,
            "folder": str(root),
            "private_key": key[1],
        }
        target = SftpTarget(SftpAccount(**{**values, **more}))
        opened.append(target)
        return target

    yield open_one
    for each in opened:
        each.close()


class TestSftp(TargetContract):
    @pytest.fixture
    def place(self, host, open_target):
        server, _ = host
        return Place(open_target, server.stop_process, server.start)


def test_a_changed_host_key_stops_everything(host, open_target, tmp_path):
    server, root = host
    open_target().create("objects/one", sealed(tmp_path, b"one"))
    pinned = server.host_key
    server.replace_host_key()

    with pytest.raises(TargetIdentityChanged) as raised:
        open_target(host_key=pinned).create("objects/two", sealed(tmp_path, b"two"))

    assert raised.value.expected != raised.value.found
    assert not (root / "objects" / "two").exists()


def test_a_key_that_is_not_let_in_is_said(open_target, tmp_path):
    make_key(tmp_path / "other")

    with pytest.raises(TargetRefuses) as raised:
        open_target(private_key=Secret((tmp_path / "other").read_bytes())).stat("objects/one")

    assert raised.value.action == "sign in"


def test_a_cut_upload_goes_on_where_it_was(host, open_target, tmp_path):
    """What was sent is not sent again."""
    server, root = host
    data = random.Random(3).randbytes(30_000_000)
    one = sealed(tmp_path, data)
    sent = [0]

    def cut(count: int) -> None:
        sent[0] += count
        if sent[0] > 20_000_000 and server.running:
            time.sleep(0.5)  # what is in flight arrives
            server.cut_sessions()

    with pytest.raises(TargetUnreachable):
        open_target().create("objects/big", one, on_bytes=cut)
    (draft,) = (root / "objects").glob(".big.*.part")
    there = draft.stat().st_size
    again: list[int] = []
    open_target().create("objects/big", one, on_bytes=again.append)

    assert there > 5_000_000
    assert sum(again) == len(data) - there
    assert (root / "objects" / "big").read_bytes() == data


def test_a_draft_that_was_altered_meanwhile_is_not_gone_on_with(host, open_target, tmp_path):
    _, root = host
    data = random.Random(4).randbytes(1_000_000)
    one = sealed(tmp_path, data)
    draft = root / "objects" / f".big.{one.sha256[:16]}.part"
    draft.parent.mkdir()
    draft.write_bytes(data[:400_000] + b"noise")

    open_target().create("objects/big", one)

    assert (root / "objects" / "big").read_bytes() == data


def test_a_folder_that_is_missing_is_not_an_empty_one(host, open_target, tmp_path):
    _, root = host
    target = open_target(folder=str(root / "missing"))
    with pytest.raises(TargetListUnreadable):
        list(target.list())


def test_it_tells_how_much_room_is_left(open_target):
    free = open_target().free_bytes()

    assert free is not None
    assert free > 1_000_000


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_host_that_is_really_full_says_so_and_keeps_what_it_had(host, open_target, tmp_path):
    """SFTP only says «Failure»: it is understood, and the half upload is removed."""
    _, root = host
    small = root / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small], check=True)
    try:
        target = open_target(folder=str(small))
        target.create("objects/one", sealed(tmp_path, b"one"))
        with pytest.raises(TargetFull):
            target.create("objects/big", sealed(tmp_path, bytes(5_000_000)))
        assert content(target, "objects/one") == b"one"
        assert [path.name for path in Path(small, "objects").iterdir()] == ["one"]
    finally:
        subprocess.run(["umount", "-l", small], check=True)
