"""Which addresses are «at the practice»: the declared local networks, and nothing else (SEC-09).

A guest Wi-Fi and a tunnel count as elsewhere: who comes that way shows two factors.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: The box itself is always at the practice.
LOOPBACK: Final[tuple[Network, ...]] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)
#: Interfaces that lead elsewhere, by the beginnings of their names: tunnels, containers, machines inside.
ELSEWHERE: Final = ("wg", "tun", "tap", "docker", "br-", "veth", "virbr", "lo")


def parse(texts: Iterable[object]) -> tuple[Network, ...]:
    """Return the networks among ``texts``; what is none is left out, so a broken line opens nothing."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(str(text).strip(), strict=False))
        except ValueError:
            continue
    return tuple(found)


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
        if one.is_private and not one.is_loopback:
            found.add(network)
    return tuple(sorted(found, key=lambda each: (each.version, str(each))))


def holds(networks: Sequence[Network], address: str) -> bool:
    """Return whether ``address`` lies in one of them; loopback always does, what is no address never."""
    try:
        one = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(one, ipaddress.IPv6Address) and one.ipv4_mapped is not None:
        one = one.ipv4_mapped  # a socket of both families tells an IPv4 visitor like this
    return any(one in network for network in (*LOOPBACK, *networks))


def _prefix(mask: str | None, full: int) -> int:
    if mask is None:
        return full
    return int(ipaddress.ip_address(mask)).bit_count()
