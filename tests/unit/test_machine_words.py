"""What a person runs on a machine, and the packet that wakes it. No network here but the loopback."""

import shlex
import socket
import subprocess
from dataclasses import replace

import pytest

from appliance.backup_jobs.machine_instructions import instructions
from appliance.backup_jobs.machine_wake import learn_mac, magic_packet, normal_mac, wake
from appliance.clock import utc_now
from appliance.errors import InvalidInput
from appliance.model import Source, SourceId, SourceKind, System

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA+b/cd armoire-3"
SOURCE = Source(
    id=SourceId(3), name="poste", label="Poste", kind=SourceKind.PULLED, created_at=utc_now(),
    roots=("/home", "/srv/l'été $HOME"), host="192.0.2.3", user="armoire",
)  # fmt: skip


def commands(source, **options):
    return [line.command for line in instructions(source, KEY, "en", **options) if line.command]


@pytest.mark.parametrize("system", list(System))
@pytest.mark.parametrize("needs_commands", [True, False])
def test_two_or_three_lines_for_each_system(system, needs_commands):
    """In French and in English; the key is restricted in each."""
    source = replace(SOURCE, system=system)
    french = instructions(source, KEY, "fr", needs_commands=needs_commands)
    english = instructions(source, KEY, "en", needs_commands=needs_commands)

    assert 2 <= len(french) == len(english) <= 3
    assert [line.command for line in french] == [line.command for line in english]
    assert all(one.why != other.why for one, other in zip(french, english, strict=True))
    (line,) = {line.command for line in english if KEY in line.command}
    assert f"restrict {KEY}" in line or f'restrict,command="internal-sftp -R" {KEY}' in line
    if system is not System.WINDOWS:
        assert ("internal-sftp -R" in line) is not needs_commands


@pytest.mark.parametrize("user", ["armoire", "root", "alice"])
def test_the_lines_for_linux_are_right_for_the_shell(user):
    """An apostrophe or a «$» in a folder's name changes nothing."""
    lines = commands(replace(SOURCE, user=user))

    for line in lines:
        assert subprocess.run(["sh", "-n", "-c", line], check=False).returncode == 0
    if user == "root":
        assert len(lines) == 2
        assert "/root/.ssh/authorized_keys" in lines[1]
    else:
        assert shlex.split(lines[-1])[-2:] == ["/home", "/srv/l'été $HOME"]
        assert f"u:{user}:rX" in lines[-1]


def test_the_line_may_be_run_twice(tmp_path):
    """The key is there once."""
    (line,) = commands(replace(SOURCE, system=System.MACOS, user=None))

    for _ in range(2):
        subprocess.run(
            ["sh", "-c", line], check=True, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        )

    text = (tmp_path / ".ssh/authorized_keys").read_text()
    assert text == f'restrict,command="internal-sftp -R" {KEY}\n'
    assert (tmp_path / ".ssh/authorized_keys").stat().st_mode & 0o777 == 0o600


def test_windows_rights_are_given_by_number():
    """«Administrators» has another name on a French Windows; the firewall opens at home only."""
    text = "\n".join(commands(replace(SOURCE, system=System.WINDOWS)))

    assert "*S-1-5-32-544:F" in text
    assert "Administrators" not in text
    assert "-Profile Private" in text
    assert "StartupType Automatic" in text


@pytest.mark.parametrize(
    "key", ["", "ssh-ed25519", "ssh-ed25519 A'A", "ssh-ed25519 A\nssh-rsa B", 'a "b" c']
)
def test_a_key_that_could_be_more_than_a_key_is_refused(key):
    """It goes into lines a person runs as root."""
    with pytest.raises(InvalidInput):
        instructions(SOURCE, key, "fr")
    with pytest.raises(InvalidInput):
        instructions(replace(SOURCE, roots=("/a\nrm -rf /",)), KEY, "fr")


# --- waking ----------------------------------------------------------------------------------


def test_the_packet_is_the_one_network_cards_wait_for():
    """Six times FF, sixteen times the address."""
    packet = magic_packet("00-1B-21-aB-cd-EF")

    assert packet == b"\xff" * 6 + bytes.fromhex("001b21abcdef") * 16
    assert normal_mac("00-1B-21-aB-cd-EF") == "00:1b:21:ab:cd:ef"


def test_the_packet_is_sent():
    """To the address that is asked for; the network's broadcast by default."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)

        wake("00:1b:21:ab:cd:ef", to=listener.getsockname(), times=2)

        assert listener.recv(200) == magic_packet("00:1b:21:ab:cd:ef")
        assert listener.recv(200) == magic_packet("00:1b:21:ab:cd:ef")


@pytest.mark.parametrize(
    "mac", ["", "00:1b:21:ab:cd", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"]
)
def test_what_is_no_machines_address_is_refused(mac):
    """Also broadcast and multicast ones."""
    with pytest.raises(InvalidInput):
        magic_packet(mac)


def test_the_address_is_learned_from_the_neighbours(tmp_path):
    """Complete entries only; a machine behind a router has none."""
    arp = tmp_path / "arp"
    arp.write_text(
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "127.0.0.9        0x1         0x2         00:1b:21:AB:cd:ef     *        eth0\n"
        "127.0.0.8        0x1         0x0         00:00:00:00:00:00     *        eth0\n"
    )

    assert learn_mac("127.0.0.9", arp=arp) == "00:1b:21:ab:cd:ef"
    assert learn_mac("127.0.0.8", arp=arp) is None
    assert learn_mac("127.0.0.7", arp=arp) is None
    assert learn_mac("127.0.0.9", arp=tmp_path / "nowhere") is None
