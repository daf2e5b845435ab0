"""Addresses and texts of the tunnel."""

import pytest

from appliance.errors import InvalidInput, TunnelFull
from appliance.policy import tunnel
from appliance.policy.tunnel import Peer

KEY = "A" * 43 + "="


def test_addresses_are_given_once_and_never_the_boxes() -> None:
    """Until there is none left, which is said."""
    assert tunnel.box_address() == "10.113.77.1"
    assert tunnel.next_address([]) == "10.113.77.2"
    assert tunnel.next_address(["10.113.77.2", "10.113.77.3"]) == "10.113.77.4"
    with pytest.raises(TunnelFull):
        tunnel.next_address([f"10.113.77.{number}" for number in range(2, 255)])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cabinet.example.org", ("cabinet.example.org", 51820)),
        ("cabinet.example.org:4000", ("cabinet.example.org", 4000)),
        ("192.0.2.7", ("192.0.2.7", 51820)),
        ("[2001:db8::7]:51820", ("2001:db8::7", 51820)),
    ],
)
def test_a_way_in_is_a_name_or_an_address(text: str, found: tuple[str, int]) -> None:
    """With its port, or the usual one."""
    assert tunnel.check_endpoint(text) == found


@pytest.mark.parametrize(
    "text", ["", "a b", "x:0", "x:70000", "x:y", "https://x.org", "x\nPostUp = rm", "-x", "x-:1"]
)
def test_what_is_no_way_in_is_refused(text: str) -> None:
    """Nothing of it may become a line of a configuration."""
    with pytest.raises(InvalidInput):
        tunnel.check_endpoint(text)


@pytest.mark.parametrize("text", ["", "A", KEY[:-1], KEY + "\nPostUp = x", "é" * 44, "A" * 44])
def test_what_is_no_key_is_refused(text: str) -> None:
    """32 bytes in base64, nothing else."""
    with pytest.raises(InvalidInput):
        tunnel.check_key(text)


def test_a_device_reaches_the_box_and_nothing_else() -> None:
    """One address on each side; the order of devices does not depend on when they came."""
    device = tunnel.device_text(KEY, "10.113.77.2", KEY, ("2001:db8::7", 51820))
    assert "AllowedIPs = 10.113.77.1/32" in device
    assert "Endpoint = [2001:db8::7]:51820" in device
    assert "DNS" not in device
    peers = [Peer(KEY, "10.113.77.10"), Peer(KEY, "10.113.77.2")]
    text = tunnel.interface_text(KEY, 51820, peers)
    assert text == tunnel.interface_text(KEY, 51820, reversed(peers))
    assert text.index("10.113.77.2/32") < text.index("10.113.77.10/32")


def test_a_handshake_is_read_and_anything_else_is_not():
    """Keys and seconds; a device that never came has 0."""
    key = "A" * 43 + "="
    text = f"{key}\t1795000000\n{'B' * 43}=\t0\nshort\t5\n{'C' * 43}=\tx\n{'D' * 43}=\n"

    assert tunnel.handshakes(text) == {key: 1795000000}
