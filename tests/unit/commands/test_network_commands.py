"""``armoire network``: what is declared, what is listened on, and a file for the firewall."""

import pytest

from tests.support.armoire_here import ArmoireHere


@pytest.fixture
def armoire(tmp_path) -> ArmoireHere:
    made = ArmoireHere(tmp_path / "data")
    assert made("init").code == 0
    return made


def test_networks_are_declared_shown_and_forgotten(armoire) -> None:
    """With the reason for each address; what cannot be a local network is refused with nothing changed."""
    before = armoire.json("network", "show")
    assert before["is_declared"] is False
    assert {"address": "127.0.0.1", "interface": "lo", "listens": True, "why": "itself"} in (
        before["addresses"]
    )
    assert armoire.json("network", "declare", "192.168.71.9/24")["network"] == "192.168.71.0/24"
    assert armoire("network", "declare", "8.8.8.0/24").code == 2
    assert armoire("network", "declare", "192.168.71.0/24").code == 2
    after = armoire.json("network", "show")
    assert after["is_declared"] is True
    assert set(after["networks"]) == {*before["networks"], "192.168.71.0/24"}
    assert b"192.168.71.0/24" in armoire("network", "show").out
    assert armoire("network", "forget", "192.168.71.0/24").code == 0
    assert armoire("network", "forget", "192.168.71.0/24").code == 2
    assert armoire.json("network", "show")["networks"] == before["networks"]


def test_the_firewall_is_printed_and_nothing_else(armoire) -> None:
    """So that it can be piped into a file."""
    armoire("network", "declare", "192.168.71.0/24")
    printed = armoire("network", "firewall")

    assert printed.code == 0
    assert printed.out.startswith(b"#!/usr/sbin/nft -f\n")
    assert printed.out.endswith(b"}\n")
    assert b"192.168.71.0/24" in printed.out
    assert armoire.json("network", "firewall")["nftables"].encode() == printed.out


def test_a_closed_box_stays_closed(armoire) -> None:
    """It is opened by a person on the page only; closing is safe to repeat."""
    assert armoire.json("network", "close") == {"was_open": False}
    assert armoire("network", "open").code == 2
