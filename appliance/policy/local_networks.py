"""Which addresses are «at the practice»: the declared local networks, and nothing else (SEC-09).

A guest Wi-Fi and a tunnel count as elsewhere: who comes that way shows two factors.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.policy import tunnel

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: The box itself is always at the practice.
LOOPBACK: Final[tuple[Network, ...]] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)
#: Networks of a building, which no one reaches from outside: RFC 1918, RFC 4193, link-local, the box itself.
BUILDING: Final[tuple[Network, ...]] = (
    *LOOPBACK,
    *(
        ipaddress.ip_network(each)
        for each in (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
        )
    ),
)
#: Interfaces that lead elsewhere, by the beginnings of their names: tunnels (our own is «armoire0»), containers,
#: machines inside.
ELSEWHERE: Final = ("wg", "tun", "tap", "docker", "br-", "veth", "virbr", "lo", "armoire")
_TUNNEL: Final = ipaddress.ip_network(tunnel.NETWORK)


def parse(texts: Iterable[object]) -> tuple[Network, ...]:
    """Return the networks among ``texts``; what is none is left out, so a broken line opens nothing."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(str(text).strip(), strict=False))
        except ValueError:
            continue
    return tuple(found)


def declarable(text: str) -> Network:
    """Return a network that a practice may declare: inside a building, and not the tunnel's.

    Raises:
        InvalidInput: it is none.
    """
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise InvalidInput("network", mark("a network like 192.168.1.0/24.")) from error
    if _TUNNEL.version == network.version and network.overlaps(_TUNNEL) and (
        network.prefixlen >= _TUNNEL.prefixlen
    ):  # fmt: skip
        raise InvalidInput(
            "network", mark("this is the tunnel, which always counts as outside: two factors.")
        )
    if not any(
        each.version == network.version and network.subnet_of(each)  # type: ignore[arg-type]
        for each in BUILDING[len(LOOPBACK) :]
    ):
        raise InvalidInput(
            "network",
            mark("a network inside the building (10.…, 172.16–31.…, 192.168.…, fd…), not the Internet."),
        )  # fmt: skip
    return network


def usual(interfaces: Iterable[tuple[str, str, str | None]]) -> tuple[Network, ...]:
    """Return the private subnets of a box's own interfaces: what is local until the practice says.

    Args:
        interfaces: name, address, netmask (of IPv6 too; None: a single address) of each.
    """
    found: set[Network] = set()
    for name, address, mask in interfaces:
        if name.startswith(ELSEWHERE):
            continue
        try:
            one = ipaddress.ip_address(address.partition("%")[0])
            network = ipaddress.ip_network(
                f"{one}/{_prefix(mask, one.max_prefixlen)}", strict=False
            )
        except ValueError:
            continue
        if one.version == 6 and one.is_link_local:
            continue  # the box does not listen there: no browser can write such an address
        if is_building(one) and not one.is_loopback and not is_tunnel(one):
            found.add(network)
    return tuple(sorted(found, key=lambda each: (each.version, str(each))))


def holds(networks: Sequence[Network], address: str) -> bool:
    """Return whether ``address`` lies in one of them; loopback always does, what is no address never.

    The tunnel never does, even when a declared network is large enough to hold it.
    """
    try:
        one = plain(address)
    except ValueError:
        return False
    return not is_tunnel(one) and any(one in network for network in (*LOOPBACK, *networks))


def plain(text: str) -> Address:
    """Return an address without its zone, of IPv4 when it is one in disguise.

    A socket of both families tells of an IPv4 visitor in that disguise.

    Raises:
        ValueError: it is none.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_building(address: Address) -> bool:
    """Return whether an address is one that buildings use inside, and that the Internet does not carry."""
    return any(address in network for network in BUILDING)


def is_tunnel(address: Address) -> bool:
    """Return whether an address is the box's or a device's in the tunnel."""
    return address in _TUNNEL


def _prefix(mask: str | None, full: int) -> int:
    if mask is None:
        return full
    return int(ipaddress.ip_address(mask)).bit_count()
