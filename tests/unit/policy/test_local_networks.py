"""Which addresses are at the practice."""

import pytest

from appliance.policy.local_networks import holds, parse, usual

CARDS = [
    ("lo", "127.0.0.1", "255.0.0.0"),
    ("eth0", "192.168.1.10", "255.255.255.0"),
    ("eth0", "82.64.10.20", "255.255.255.0"),
    ("eth0", "fd12:3456::10", "ffff:ffff:ffff:ffff::"),
    ("eth0", "2a01:e0a::10", "ffff:ffff:ffff:ffff::"),
    ("wg0", "10.44.0.1", "255.255.255.0"),
    ("docker0", "172.17.0.1", "255.255.0.0"),
    ("eth1", "10.1.2.3", None),
    ("eth2", "nonsense", "255.255.255.0"),
]


def test_the_private_subnets_of_the_boxs_own_interfaces_are_local_until_the_practice_says():
    """No tunnel, no container, no address of the Internet."""
    assert [str(each) for each in usual(CARDS)] == [
        "10.1.2.3/32",
        "192.168.1.0/24",
        "fd12:3456::/64",
    ]


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("192.168.1.77", True),
        ("::ffff:192.168.1.77", True),
        ("fd12:3456::99%eth0", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("192.168.2.1", False),
        ("10.44.0.2", False),
        ("82.64.10.99", False),
        ("::ffff:8.8.8.8", False),
        ("testclient", False),
        ("", False),
        ("0x7f.1", False),
    ],
)
def test_an_address_is_at_the_practice_or_it_is_not(address, is_local):
    """What is no address is elsewhere."""
    assert holds(usual(CARDS), address) is is_local


def test_a_broken_line_of_the_declaration_opens_nothing():
    """It is left out; the others stay."""
    networks = parse(["192.168.7.0/24", "all of them", "", 7, None, "10.0.0.5/16"])

    assert holds(networks, "192.168.7.9")
    assert holds(networks, "10.0.200.1")
    assert not holds(networks, "192.168.8.9")
    assert not holds(networks, "8.8.8.8")
