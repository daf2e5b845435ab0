"""What the helper tells the worker about Samba, and what both ask of the box."""

import socket
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a plan did."""

    is_changed: bool  # the configuration in use is another one now
    addresses: tuple[str, ...]  # it listens on these
    left_out: tuple[int, ...]  # shares whose folder is not there, or not one of ours
    cut: int  # sessions ended
    mark: str  # what each audit line begins with


@dataclass(frozen=True, slots=True)
class SmbSession:
    """Somebody who is connected."""

    person_id: int | None
    pid: int
    address: str
    dialect: str  # SMB3_11
    cipher: str  # «-»: signed only
    shares: tuple[str, ...]


def announcing_interfaces() -> dict[str, list[str]]:
    """Return the addresses of each interface on which avahi speaks: up, multicast, no tunnel, not the box's own."""
    flags = {
        name: set(each.flags.split(","))
        for name, each in psutil.net_if_stats().items()
        if each.isup
    }
    return {
        name: [each.address for each in found if each.family in {socket.AF_INET, socket.AF_INET6}]
        for name, found in psutil.net_if_addrs().items()
        if "multicast" in flags.get(name, set()) and not flags[name] & {"loopback", "pointopoint"}
    }


def own_addresses() -> list[str]:
    """Return every address of the box's interfaces."""
    return [
        each.address
        for addresses in psutil.net_if_addrs().values()
        for each in addresses
        if each.family in {socket.AF_INET, socket.AF_INET6}
    ]
