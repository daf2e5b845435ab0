"""What is asked of the system's ssh, and what its words mean."""

import subprocess

import pytest

from appliance.backup_jobs import ssh
from appliance.backup_jobs.sources.roots import remote_path, root_paths
from appliance.errors import (
    ConnectionLost,
    HostKeyChanged,
    HostKeyUnknown,
    InvalidInput,
    KeyRefused,
    MachineUnreachable,
    SftpUnavailable,
)
from appliance.model import System
from appliance.vault.secret import Secret

KEY = ssh.make_key()[1]
POINT = ssh.Endpoint("192.0.2.7", 2222, "armoire", KEY, Secret(b"private"))


def test_nothing_is_left_to_a_configuration_file():
    """No agent, no forwarding, no password, no question, only the pinned host key."""
    argv = ssh.ssh_argv(POINT, "/key", "/known")
    options = {argv[at + 1] for at, each in enumerate(argv) if each == "-o"}
    assert argv[:3] == ["ssh", "-F", "none"]
    assert {
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "UserKnownHostsFile=/known",
        "GlobalKnownHostsFile=none",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "PasswordAuthentication=no",
        "ForwardAgent=no",
        "ClearAllForwardings=yes",
        "HostKeyAlgorithms=ssh-ed25519",
        "Compression=no",
    } <= options
    assert b"private" not in " ".join(argv).encode()


@pytest.mark.parametrize(
    ("host", "user"),
    [("-oProxyCommand=x", "a"), ("a b", "a"), ("a\nb", "a"), ("", "a"), ("a", "-x"), ("a", "")],
)
def test_an_address_that_could_be_an_option_is_refused(host, user):
    """Before any program is started."""
    point = ssh.Endpoint(host, 22, user, KEY, Secret(b""))
    with pytest.raises(InvalidInput):
        ssh.ssh_argv(point, "/key", "/known")


def test_a_machine_that_was_never_confirmed_is_not_connected_to():
    """Trust is never given on first use without a person."""
    with pytest.raises(HostKeyUnknown):
        ssh.ssh_argv(ssh.Endpoint("a", 22, "a", None, Secret(b"")), "/key", "/known")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        ("ssh: connect to host x port 22: Connection refused", 255, MachineUnreachable),
        ("ssh: connect to host x port 22: Connection timed out", 255, MachineUnreachable),
        ("ssh: Could not resolve hostname x: Name or service not known", 255, MachineUnreachable),
        ("kex_exchange_identification: read: Connection reset by peer", 255, MachineUnreachable),
        ("Connection closed by 192.0.2.7 port 22", 255, MachineUnreachable),
        ("armoire@x: Permission denied (publickey).", 255, KeyRefused),
        ("Host key verification failed.\nSHA256:" + "A" * 43, 255, HostKeyChanged),
        ("subsystem request failed on channel 0", 1, SftpUnavailable),
        ("", 127, SftpUnavailable),
        ("Timeout, server x not responding.", 255, ConnectionLost),
        ("client_loop: send disconnect: Broken pipe", 255, ConnectionLost),
        ("Read from remote host x: Connection reset by peer", 255, ConnectionLost),
        ("", None, ConnectionLost),
        ("", -9, ConnectionLost),
    ],
)
def test_each_end_of_ssh_has_its_error(words, code, error):
    """As OpenSSH 9.2 says it."""
    assert type(ssh.explain(POINT, code, tuple(words.split("\n")))) is error


def test_a_changed_host_key_names_both_fingerprints():
    """A person compares them."""
    shown = "SHA256:" + "B" * 43
    found = ssh.explain(POINT, 255, (f"is {shown}.", "Host key verification failed."))
    assert (found.expected, found.found) == (ssh.fingerprint(KEY), shown)


def test_fingerprints_are_those_of_ssh_keygen():
    """Asked of the program itself; what is no key is refused."""
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"], input=KEY.encode(), capture_output=True, check=True
    )
    assert ssh.fingerprint(KEY) == shown.stdout.decode().split()[1]
    blob = KEY.split()[1]
    for wrong in ("", "ssh-ed25519", "ssh-ed25519 !!!", f"ssh-rsa {blob}"):
        with pytest.raises(InvalidInput):
            ssh.fingerprint(wrong)


def test_a_new_key_is_a_pair_in_openssh_form():
    """The private half masked, the public half one line for authorized_keys."""
    private, public = ssh.make_key("box")
    assert private.reveal().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    assert "OPENSSH" not in repr(private)
    assert public.startswith("ssh-ed25519 ")
    assert public.endswith(" box")
    assert ssh.make_key()[1] != ssh.make_key()[1]


@pytest.mark.parametrize(
    ("root", "system", "remote", "stored"),
    [
        ("/home/anne", System.LINUX, b"/home/anne", b"home/anne"),
        ("/home//anne/", System.LINUX, b"/home/anne", b"home/anne"),
        ("/", System.LINUX, b"/", b""),
        ("C:\\Users\\Anne", System.WINDOWS, b"/C:/Users/Anne", b"C/Users/Anne"),
        ("/c:/Users", System.WINDOWS, b"/C:/Users", b"C/Users"),
        ("D:", System.WINDOWS, b"/D:/", b"D"),
        ("D:\\", System.WINDOWS, b"/D:/", b"D"),
    ],
)
def test_roots_are_stored_as_borg_stores_paths(root, system, remote, stored):
    """No leading slash, a drive is a folder, and the way back leads to the same place."""
    assert root_paths(root, system) == (remote, stored)
    assert remote_path(stored, system).rstrip(b"/") == remote.rstrip(b"/")


@pytest.mark.parametrize(
    ("root", "system"),
    [
        ("home", System.LINUX),
        ("/a/../b", System.LINUX),
        ("Users", System.WINDOWS),
        ("C:\\..\\x", System.WINDOWS),
        ("C:Users", System.WINDOWS),
        ("", System.LINUX),
    ],
)
def test_roots_that_are_not_whole_paths_are_refused(root, system):
    """Nobody knows what a relative path meant a year later."""
    with pytest.raises(InvalidInput):
        root_paths(root, system)
