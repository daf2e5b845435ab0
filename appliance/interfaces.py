"""The addresses of the box's own interfaces, as they are now."""

import socket
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Address:
    """One address of one interface."""

    interface: str
    address: str  # of IPv6 with its zone
    netmask: str | None


def addresses() -> list[Address]:
    """Return every IPv4 and IPv6 address, by interface."""
    return [
        Address(name, one.address, one.netmask)
        for name, found in psutil.net_if_addrs().items()
        for one in found
        if one.family in {socket.AF_INET, socket.AF_INET6}
    ]
