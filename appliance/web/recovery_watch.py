"""What every page shows while the box is made again from a copy."""

import os
from pathlib import Path

from appliance.jobs import recovery_status
from appliance.jobs.recovery_status import RecoveryStatus
from appliance.settings import Settings


class Watch:
    """The status of the running recovery, read again when it was written again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stamp: tuple[int, int] | None = None
        self._known: RecoveryStatus | None = None

    def status(self) -> RecoveryStatus | None:
        """Return the newest status, None when nothing was written yet."""
        stamp = _stamp(self._settings.run / recovery_status.LIVE)
        if stamp is None or stamp != self._stamp:
            self._known = recovery_status.read_live(self._settings)
            self._stamp = stamp
        return self._known


def _stamp(place: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(place)  # noqa: PTH116 - asked for every page
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
