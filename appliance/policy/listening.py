"""Where the box listens, and whom it lets come: declared local networks, itself, the tunnel (SEC-10, SEC-11).

Two questions, for a router can send the whole Internet to an address of the practice: which of the box's own
addresses are bound, and from which addresses a visitor may come. Whoever decides to open the box to the
Internet changes both answers, and nothing else does (docs/decisions/0189).
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from appliance.language import mark
from appliance.policy import tunnel
from appliance.policy.local_networks import Network, is_building, is_tunnel, plain

#: What the setting says when the rule alone decides: nothing, or what means «everywhere» elsewhere.
BY_RULE: Final = frozenset({"", "0.0.0.0", "::", "*"})  # noqa: S104 - compared, not listened on


class Reason(StrEnum):
    """Why an address is listened on, or not."""

    ITSELF = "itself"  # loopback
    LOCAL = "local"
    TUNNEL = "tunnel"
    OPEN = "open"  # somebody decided
    OUTSIDE = "outside"  # an address of the Internet
    NOT_DECLARED = "not-declared"
    NO_NAME = "no-name"  # link-local: no browser can write it down
    FRONT = "front"  # the web server in front listens there for the box
    SETTING = "setting"  # listen_address names another one
    NAMED = "named"  # listen_address names it


BOUND: Final = frozenset({Reason.ITSELF, Reason.LOCAL, Reason.TUNNEL, Reason.OPEN, Reason.NAMED})

REASON_WORDS: Final[dict[Reason, str]] = {
    Reason.ITSELF: mark("the box itself"),
    Reason.LOCAL: mark("declared local network"),
    Reason.TUNNEL: mark("tunnel"),
    Reason.OPEN: mark("opened by decision"),
    Reason.OUTSIDE: mark("address of the Internet"),
    Reason.NOT_DECLARED: mark("not in a declared local network"),
    Reason.NO_NAME: mark("no browser can write this address"),
    Reason.FRONT: mark("the web server in front listens there"),
    Reason.SETTING: mark("left out by the setting listen_address"),
    Reason.NAMED: mark("named by the setting listen_address"),
}


@dataclass(frozen=True, slots=True)
class Card:
    """An address of one of the box's interfaces."""

    interface: str
    address: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What was declared and decided."""

    networks: tuple[Network, ...]
    is_open: bool = False  # to the Internet, by decision
    setting: str = ""  # listen_address
    front: str = ""  # front_address


@dataclass(frozen=True, slots=True)
class Door:
    """An address of the box and what becomes of it."""

    interface: str
    address: str
    why: Reason

    @property
    def is_bound(self) -> bool:
        """The box listens there."""
        return self.why in BOUND


def doors(cards: Iterable[Card], rule: Rule) -> list[Door]:
    """Return every address of the box, in order, with what becomes of it; what is no address is left out."""
    found: dict[str, Door] = {}
    for card in cards:
        try:
            address = ipaddress.ip_address(card.address.partition("%")[0])
        except ValueError:
            continue
        found.setdefault(str(address), Door(card.interface, str(address), _why(address, rule)))
    return sorted(found.values(), key=lambda each: (not each.is_bound, _order(each.address)))


def may_come(peer: str, rule: Rule) -> bool:
    """Return whether a visitor may come from ``peer`` at all; what is no address may not.

    A private address that was not declared (a guest Wi-Fi) comes in and counts as outside: two factors. An
    address of the Internet is sent away before anything was said, unless the box was opened.
    """
    try:
        address = plain(peer)
    except ValueError:
        return False
    return (
        rule.is_open or is_inside(address) or any(address in network for network in rule.networks)
    )


def is_inside(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether no one can come from this address through the Internet itself."""
    return is_building(address) or is_tunnel(address)


def stands_apart(found: Iterable[Door]) -> list[str]:
    """Return the box's addresses in networks nobody declared, when it answers in no declared one; else nothing.

    So it is after a recovery in another building, or when the provider's router was changed.
    """
    known = list(found)
    if any(each.why in {Reason.LOCAL, Reason.FRONT, Reason.OPEN, Reason.NAMED} for each in known):
        return []
    return [each.address for each in known if each.why is Reason.NOT_DECLARED]


def without_tunnel(networks: Iterable[Network]) -> tuple[Network, ...]:
    """Return ``networks`` without the tunnel's own, cut out of a larger one that holds it."""
    inside = ipaddress.ip_network(tunnel.NETWORK)
    found: list[Network] = []
    for each in networks:
        if (
            isinstance(each, ipaddress.IPv6Network)
            or isinstance(inside, ipaddress.IPv6Network)
            or not each.overlaps(inside)
        ):
            found.append(each)
        elif each.prefixlen < inside.prefixlen:
            found.extend(sorted(each.address_exclude(inside)))
    return tuple(found)


def base_address(setting: str) -> str:
    """Return where the box reaches its own web interface."""
    return "127.0.0.1" if setting in BY_RULE or setting == "localhost" else setting


def _why(address: ipaddress.IPv4Address | ipaddress.IPv6Address, rule: Rule) -> Reason:
    if rule.setting not in BY_RULE and not _is_named(address, rule.setting):
        return Reason.SETTING
    if address.is_loopback:
        return Reason.ITSELF
    if _is_loopback(rule.front):
        return Reason.FRONT
    if address.version == 6 and address.is_link_local:
        return Reason.NO_NAME
    if is_tunnel(address):
        return Reason.TUNNEL
    if is_building(address) and any(address in network for network in rule.networks):
        return Reason.LOCAL
    if rule.is_open:
        return Reason.OPEN
    if is_building(address) and rule.setting not in BY_RULE:
        return Reason.NAMED  # by whoever administers the box; its visitors count as outside
    return Reason.NOT_DECLARED if is_building(address) else Reason.OUTSIDE


def _is_named(address: ipaddress.IPv4Address | ipaddress.IPv6Address, setting: str) -> bool:
    if setting == "localhost":
        return address.is_loopback
    try:
        return ipaddress.ip_address(setting) == address
    except ValueError:
        return False


def _is_loopback(text: str) -> bool:
    try:
        return plain(text).is_loopback
    except ValueError:
        return False


def _order(address: str) -> tuple[int, int]:
    one = ipaddress.ip_address(address)
    return one.version, int(one)


def addresses(found: Sequence[Door]) -> list[str]:
    """Return the addresses that are listened on."""
    return [each.address for each in found if each.is_bound]
