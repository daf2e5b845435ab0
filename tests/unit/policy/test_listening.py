"""Where the box listens and whom it lets come: nothing of the Internet unless somebody decided."""

import ipaddress

import pytest

from appliance.errors import InvalidInput
from appliance.policy import listening
from appliance.policy.listening import Card, Reason, Rule, doors, may_come
from appliance.policy.local_networks import declarable, holds, parse, usual

CARDS = [
    Card("lo", "127.0.0.1"),
    Card("lo", "::1"),
    Card("eth0", "192.168.1.10"),
    Card("eth0", "82.64.10.20"),
    Card("eth0", "2a01:e0a::10"),
    Card("eth0", "fd12:3456::10"),
    Card("eth0", "fe80::1%eth0"),
    Card("wlan0", "192.168.9.1"),
    Card("docker0", "172.17.0.1"),
    Card("armoire0", "10.113.77.1"),
    Card("odd", "nonsense"),
]
NETWORKS = parse(["192.168.1.0/24", "fd12:3456::/64"])


def bound(rule: Rule) -> set[str]:
    return set(listening.addresses(doors(CARDS, rule)))


def why(rule: Rule) -> dict[str, Reason]:
    return {each.address: each.why for each in doors(CARDS, rule)}


def test_declared_networks_the_box_itself_and_the_tunnel_are_listened_on_and_nothing_else() -> None:
    """Each address that is left out says why."""
    rule = Rule(NETWORKS)

    assert bound(rule) == {
        "127.0.0.1", "::1", "192.168.1.10", "fd12:3456::10", "10.113.77.1",
    }  # fmt: skip
    assert why(rule) == {
        "127.0.0.1": Reason.ITSELF,
        "::1": Reason.ITSELF,
        "192.168.1.10": Reason.LOCAL,
        "fd12:3456::10": Reason.LOCAL,
        "10.113.77.1": Reason.TUNNEL,
        "82.64.10.20": Reason.OUTSIDE,
        "2a01:e0a::10": Reason.OUTSIDE,
        "fe80::1": Reason.NO_NAME,
        "192.168.9.1": Reason.NOT_DECLARED,
        "172.17.0.1": Reason.NOT_DECLARED,
    }


def test_an_address_of_the_internet_is_bound_by_decision_only_even_when_it_was_declared() -> None:
    """A declaration cannot open the box by mistake; a decision does."""
    careless = Rule(parse(["0.0.0.0/0", "::/0"]))
    assert {"82.64.10.20", "2a01:e0a::10"}.isdisjoint(bound(careless))

    opened = Rule(NETWORKS, is_open=True)
    assert {"82.64.10.20", "2a01:e0a::10", "172.17.0.1"} <= bound(opened)
    assert "fe80::1" not in bound(opened)


@pytest.mark.parametrize("setting", ["", "0.0.0.0", "::", "*"])
def test_a_setting_that_means_everywhere_leaves_it_to_the_rule(setting: str) -> None:
    """Who wrote 0.0.0.0 years ago is not opened by it."""
    assert bound(Rule(NETWORKS, setting=setting)) == bound(Rule(NETWORKS))


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("127.0.0.1", {"127.0.0.1"}),
        ("localhost", {"127.0.0.1", "::1"}),
        ("192.168.1.10", {"192.168.1.10"}),
        ("192.168.9.1", {"192.168.9.1"}),  # inside the building, by whoever administers the box
        ("82.64.10.20", set()),
        ("cabinet.lan", set()),
    ],
)
def test_a_setting_names_one_address_and_never_one_of_the_internet(
    setting: str, expected: set[str]
) -> None:
    """Where nobody declared anything its visitors count as outside."""
    assert bound(Rule(NETWORKS, setting=setting)) == expected


def test_behind_a_web_server_on_the_box_only_that_one_is_answered() -> None:
    """It listens for the box; one on another machine is a visitor like the others."""
    assert bound(Rule(NETWORKS, front="127.0.0.1")) == {"127.0.0.1", "::1"}
    assert bound(Rule(NETWORKS, front="192.168.1.2")) == bound(Rule(NETWORKS))


@pytest.mark.parametrize(
    ("peer", "may"),
    [
        ("192.168.1.77", True),
        ("::ffff:192.168.1.77", True),
        ("192.168.2.1", True),  # a guest: two factors
        ("10.113.77.9", True),
        ("127.0.0.1", True),
        ("fe80::7%eth0", True),
        ("82.64.10.99", False),
        ("::ffff:82.64.10.99", False),
        ("2a01:e0a::99", False),
        ("100.64.0.7", False),  # a neighbour behind the same provider
        ("", False),
        ("testclient", False),
    ],
)
def test_who_comes_from_the_internet_is_sent_away_wherever_they_knock(peer: str, may: bool) -> None:
    """A router that sends every port to the box is what the fined doctors had (SEC-11)."""
    assert may_come(peer, Rule(NETWORKS)) is may
    if peer not in {"", "testclient"}:
        assert may_come(peer, Rule(NETWORKS, is_open=True))


def test_the_tunnel_is_never_at_the_practice() -> None:
    """Not by its interface, not by a larger network that was declared (SEC-09)."""
    assert usual([("armoire0", "10.113.77.1", "255.255.255.0")]) == ()
    assert usual([("eth0", "10.113.77.1", "255.255.255.0")]) == ()
    assert not holds(parse(["10.0.0.0/8"]), "10.113.77.2")
    assert holds(parse(["10.0.0.0/8"]), "10.113.78.2")
    left = listening.without_tunnel(parse(["10.0.0.0/8", "10.113.77.128/25", "fd00::/8"]))
    tunnel = ipaddress.ip_network("10.113.77.0/24")
    assert not any(each.version == 4 and each.overlaps(tunnel) for each in left)
    assert sum(each.num_addresses for each in left if each.version == 4) == 2**24 - 2**8
    assert ipaddress.ip_network("fd00::/8") in left


@pytest.mark.parametrize(
    "text",
    ["", "anywhere", "0.0.0.0/0", "82.64.10.0/24", "::/0", "2a01::/16", "127.0.0.0/8", "10.113.77.0/24",
     "10.113.77.64/26", "192.0.0.0/8"],
)  # fmt: skip
def test_what_is_not_inside_a_building_cannot_be_declared(text: str) -> None:
    with pytest.raises(InvalidInput):
        declarable(text)


def test_an_address_stands_for_its_network() -> None:
    """What a person reads on their computer is enough."""
    assert str(declarable(" 192.168.1.77/24 ")) == "192.168.1.0/24"
    assert str(declarable("fd12:3456::77/64")) == "fd12:3456::/64"


def test_a_box_in_a_network_nobody_declared_says_so() -> None:
    """After a recovery in another building, or with another router: else nobody would know why it is silent."""
    apart = Rule(parse(["192.168.50.0/24"]))

    assert set(listening.stands_apart(doors(CARDS, apart))) == {
        "172.17.0.1", "192.168.9.1", "192.168.1.10", "fd12:3456::10",
    }  # fmt: skip
    assert listening.stands_apart(doors(CARDS, Rule(NETWORKS))) == []
    assert listening.stands_apart(doors(CARDS, Rule((), is_open=True))) == []
    assert listening.stands_apart(doors(CARDS, Rule((), front="127.0.0.1"))) == []
    assert listening.stands_apart(doors(CARDS[:2], apart)) == []
