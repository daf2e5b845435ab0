"""The declared local networks: the fact ``network.local``, or the private subnets of the box's interfaces."""

import time
from typing import Final

from sqlalchemy import Connection

from appliance import interfaces
from appliance.db import facts
from appliance.policy import local_networks
from appliance.policy.local_networks import Network

#: A list of texts such as «192.168.1.0/24»; the page of the network writes it.
FACT: Final = "network.local"
#: The interfaces are looked at once in so many seconds.
_LOOK_EVERY_S: Final = 3.0
_seen: tuple[float, tuple[Network, ...]] | None = None


def declared(connection: Connection) -> tuple[Network, ...]:
    """Return the local networks: those the practice declared, else those of the box's own interfaces."""
    found = find_declared(connection)
    return of_the_box() if found is None else found


def find_declared(connection: Connection) -> tuple[Network, ...] | None:
    """Return the networks the practice declared; None: it declared none yet."""
    found = facts.find(connection, FACT)
    return local_networks.parse(found) if isinstance(found, list) else None


def is_local(connection: Connection, address: str) -> bool:
    """Return whether ``address`` is at the practice; what is no address is not."""
    return local_networks.holds(declared(connection), address)


def is_near(connection: Connection, address: str) -> bool:
    """Return whether ``address`` is at the practice, or a device's in the tunnel: a person's key let it in."""
    try:
        in_tunnel = local_networks.is_tunnel(local_networks.plain(address))
    except ValueError:
        in_tunnel = False
    return in_tunnel or is_local(connection, address)


def of_the_box() -> tuple[Network, ...]:
    """Return the private subnets of the box's own interfaces, as they were some seconds ago."""
    global _seen  # noqa: PLW0603 - asked per sign-in, and the interfaces hardly change
    now = time.monotonic()
    if _seen is None or now - _seen[0] > _LOOK_EVERY_S:
        _seen = (
            now,
            local_networks.usual(
                (each.interface, each.address, each.netmask) for each in interfaces.addresses()
            ),
        )
    return _seen[1]
