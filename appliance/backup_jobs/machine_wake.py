"""Waking a sleeping machine, and learning the address that this needs.

Source: AMD, «Magic Packet Technology» (1995): six bytes 0xFF, then the MAC address sixteen times.
"""

import re
import socket
from pathlib import Path
from typing import Final

from appliance.errors import InvalidInput
from appliance.language import mark

BROADCAST: Final = ("255.255.255.255", 9)
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")
_ARP: Final = Path("/proc/net/arp")
_COMPLETE: Final = 0x2  # ATF_COM, linux/if_arp.h


def normal_mac(text: str) -> str:
    """Return a MAC address as «aa:bb:cc:dd:ee:ff».

    Raises:
        InvalidInput: it is none, or one that no single machine has.
    """
    if not _MAC.fullmatch(text.strip()):
        raise InvalidInput("mac", mark("Six pairs of hexadecimal digits are needed."))
    mac = text.strip().lower().replace("-", ":")
    if mac == "00:00:00:00:00:00" or int(mac[:2], 16) & 1:
        raise InvalidInput("mac", mark("This is not the address of one machine."))
    return mac


def magic_packet(mac: str) -> bytes:
    """Return the 102 bytes that wake the machine with this MAC address.

    Raises:
        InvalidInput: as ``normal_mac``.
    """
    return b"\xff" * 6 + bytes.fromhex(normal_mac(mac).replace(":", "")) * 16


def wake(mac: str, *, to: tuple[str, int] = BROADCAST, times: int = 3) -> None:
    """Send the packet ``times`` times: UDP, nobody answers, so nobody knows whether it arrived.

    Raises:
        InvalidInput: as ``normal_mac``.
        OSError: the box has no network.
    """
    packet = magic_packet(mac)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for _ in range(times):
            sender.sendto(packet, to)


def learn_mac(host: str, *, arp: Path = _ARP) -> str | None:
    """Return the MAC address of a machine the box spoke with just now, None when it is not on its network."""
    try:
        address = socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0]
        lines = arp.read_text("ascii", "replace").splitlines()[1:]
    except (OSError, UnicodeError):
        return None
    for line in lines:
        parts = line.split()
        if len(parts) >= 4 and parts[0] == address and int(parts[2], 16) & _COMPLETE:
            try:
                return normal_mac(parts[3])
            except InvalidInput:
                return None
    return None
