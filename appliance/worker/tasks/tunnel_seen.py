"""When each device of the tunnel was last heard: read from what a unit of root's writes, for the pages.

Only root may ask WireGuard; ``systemd/tunnel-seen`` writes public keys and times, and nothing that opens anything.
"""

import logging
from datetime import datetime
from pathlib import Path
from typing import Final

from appliance.accounts import tunnel as devices
from appliance.clock import from_epoch
from appliance.db.engine import Database
from appliance.policy import tunnel
from appliance.settings import Settings

FILE: Final = "handshakes"
#: Bytes: 253 devices have 14,000.
MOST: Final = 64 * 1024

_log = logging.getLogger("armoire.tunnel")


def look(settings: Settings, database: Database, now: datetime) -> int:
    """Store what is new; return of how many devices. No file, or a strange one: nothing is known."""
    try:
        with (Path(settings.tunnel_run) / FILE).open("rb") as file:
            text = file.read(MOST).decode("ascii", "replace")
    except FileNotFoundError:
        return 0
    except OSError as error:
        _log.warning("handshakes are not readable: %s", type(error).__name__)
        return 0
    heard = {key: min(from_epoch(at), now) for key, at in tunnel.handshakes(text).items()}
    if not heard:
        return 0
    with database.read() as connection:
        seen = devices.news(connection, heard)
    if seen:
        with database.write() as connection:
            devices.note_seen(connection, seen)
    return len(seen)
