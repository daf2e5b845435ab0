"""The tunnel (WireGuard): addresses, and the texts of both ends. Only the box's address is routed.

Sources: wg(8), wg-quick(8). A device reaches the box and nothing else of the practice's network: the box does not
forward. Keys are 32 bytes in base64.
"""

import ipaddress
import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from appliance.errors import InvalidInput, TunnelFull
from appliance.language import mark

#: The tunnel's own network: rarely used at home, so that the two do not meet.
NETWORK: Final = "10.113.77.0/24"
PORT: Final = 51820
#: As systemd/armoire-tunnel.service calls it.
INTERFACE: Final = "armoire0"
#: A phone behind a router stays reachable: seconds between two signs of life.
KEEPALIVE_S: Final = 25
_HOST: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Peer:
    """A device that may come in."""

    public_key: str
    address: str  # in the tunnel's network


def box_address(network: str = NETWORK) -> str:
    """Return the box's own address in the tunnel: the first of its network."""
    return str(next(ipaddress.ip_network(network).hosts()))


def next_address(taken: Iterable[str], network: str = NETWORK) -> str:
    """Return a free address for a device; one that was ever given is not given again.

    Raises:
        TunnelFull: every one was given.
    """
    used = {box_address(network), *taken}
    for each in ipaddress.ip_network(network).hosts():
        if str(each) not in used:
            return str(each)
    raise TunnelFull


def check_endpoint(text: str) -> tuple[str, int]:
    """Return name (or address) and port under which the box is reached from outside.

    Raises:
        InvalidInput: it is none.
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon:
        host, port = text.strip(), str(PORT)
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ipaddress.ip_address(inner)
        is_address = True
    except ValueError:
        is_address = False
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise InvalidInput("endpoint", mark("a name or an address, like cabinet.example.org."))
    if not is_address and not _HOST.fullmatch(inner):
        raise InvalidInput("endpoint", mark("a name or an address, like cabinet.example.org."))
    return inner, int(port)


def check_key(text: str) -> str:
    """Return a public key in its usual form.

    Raises:
        InvalidInput: it is none.
    """
    try:
        raw = b64decode(text.strip(), validate=True)
    except (NotBase64, ValueError) as error:
        raise InvalidInput("key", mark("a key of WireGuard: 44 letters and digits.")) from error
    if len(raw) != 32:
        raise InvalidInput("key", mark("a key of WireGuard: 44 letters and digits."))
    return text.strip()


def handshakes(text: str) -> dict[str, int]:
    """Return public key → epoch of the last handshake, of those that had one. Source: wg(8), «latest-handshakes»."""
    found = {}
    for line in text.splitlines():
        key, _, seconds = line.partition("\t")
        if len(key) == 44 and seconds.isdecimal() and 0 < int(seconds) < 2**40:
            found[key] = int(seconds)
    return found


def interface_text(private_key: str, port: int, peers: Iterable[Peer]) -> str:
    """Return what ``wg syncconf`` takes for the box's end."""
    lines = ["[Interface]", f"PrivateKey = {private_key}", f"ListenPort = {port}"]
    for each in sorted(peers, key=lambda one: ipaddress.ip_address(one.address)):
        lines += [
            "",
            "[Peer]",
            f"PublicKey = {each.public_key}",
            f"AllowedIPs = {each.address}/32",
        ]
    return "\n".join(lines) + "\n"


def device_text(
    private_key: str, address: str, box_key: str, endpoint: tuple[str, int], network: str = NETWORK
) -> str:
    """Return the file (or QR code) of a device."""
    host, port = endpoint
    shown = f"[{host}]" if ":" in host else host
    return "\n".join(
        [
            "[Interface]",
            f"PrivateKey = {private_key}",
            f"Address = {address}/32",
            "",
            "[Peer]",
            f"PublicKey = {box_key}",
            f"Endpoint = {shown}:{port}",
            f"AllowedIPs = {box_address(network)}/32",
            f"PersistentKeepalive = {KEEPALIVE_S}",
            "",
        ]
    )
