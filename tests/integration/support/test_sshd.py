"""The OpenSSH server of the tests is a real one, and leaves nothing behind."""

import subprocess

import psutil
import pytest

from tests.support.sshd import SshServer, make_key

pytestmark = pytest.mark.integration


def ssh(server: SshServer, key, *command: str, known: str | None = None):
    known_hosts = server.folder / "known"
    known_hosts.write_text(f"[{server.host}]:{server.port} {known or server.host_key}\n")
    return subprocess.run(
        ["ssh", "-F", "none", "-o", f"UserKnownHostsFile={known_hosts}", "-o", "BatchMode=yes",
         "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-i", str(key),
         "-p", str(server.port), f"{server.user}@{server.host}", *command],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_lets_in_the_keys_it_was_given_and_no_other(sshd, tmp_path):
    """A key is refused until it is authorised, and a forced command is all its key can run."""
    own, forced = tmp_path / "own", tmp_path / "forced"
    make_key(own)
    public = make_key(forced)
    refused = ssh(sshd, own, "echo", "hello")
    assert refused.returncode == 255
    assert "Permission denied" in refused.stderr
    sshd.authorize(own.with_suffix(".pub").read_text())
    assert ssh(sshd, own, "echo", "hello").stdout == "hello\n"
    sshd.authorize(public, forced_command='echo "only this"')
    assert ssh(sshd, forced, "cat", "/etc/passwd").stdout == "only this\n"


def test_a_reinstalled_machine_has_another_host_key_at_the_same_port(sshd, tmp_path):
    """After ``replace_host_key`` the pinned key is refused by OpenSSH itself."""
    key = tmp_path / "key"
    sshd.authorize(make_key(key))
    before, port = sshd.host_key, sshd.port
    sshd.replace_host_key()
    assert (sshd.port, sshd.host_key != before) == (port, True)
    assert "HOST IDENTIFICATION HAS CHANGED" in ssh(sshd, key, "true", known=before).stderr
    assert ssh(sshd, key, "true").returncode == 0


def test_stopping_ends_its_sessions_and_removes_its_files(tmp_path):
    """A session that would sleep for an hour is gone with its server."""
    key = tmp_path / "key"
    public = make_key(key)
    with SshServer() as server:
        server.authorize(public)
        client = subprocess.Popen(
            ["ssh", "-F", "none", "-o", "StrictHostKeyChecking=no",
             "-o", "UserKnownHostsFile=/dev/null", "-i", str(key), "-p", str(server.port),
             f"{server.user}@127.0.0.1", "echo up; exec sleep 3611"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert client.stdout.readline() == b"up\n"
        sleepers = [each for each in server.sessions() if each.name() == "sleep"]
        assert sleepers
    client.wait(10)
    client.stdout.close()
    assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in sleepers)
    assert not server.folder.exists()
