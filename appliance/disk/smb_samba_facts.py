"""What the helper tells the worker about Samba, and what both ask of the box."""

from dataclasses import dataclass

import psutil

from appliance import interfaces


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
    known = interfaces.addresses()
    return {
        name: [each.address for each in known if each.interface == name]
        for name, said in flags.items()
        if "multicast" in said and not said & {"loopback", "pointopoint"}
    }


def own_addresses() -> list[str]:
    """Return every address of the box's interfaces."""
    return [each.address for each in interfaces.addresses()]
