"""The packet that wakes a machine, and the address it needs. No network here but the loopback."""

import socket

import pytest

from appliance.backup_jobs.machine_wake import learn_mac, magic_packet, normal_mac, wake
from appliance.errors import InvalidInput


def test_the_packet_is_the_one_network_cards_wait_for():
    """Six times FF, sixteen times the address."""
    packet = magic_packet("00-1B-21-aB-cd-EF")

    assert packet == b"\xff" * 6 + bytes.fromhex("001b21abcdef") * 16
    assert normal_mac("00-1B-21-aB-cd-EF") == "00:1b:21:ab:cd:ef"


def test_the_packet_is_sent():
    """To the address that is asked for; the network's broadcast by default."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(60)

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
