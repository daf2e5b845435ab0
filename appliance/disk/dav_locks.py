"""Locks of WebDAV, in memory: short, and lost when the box restarts; programs then ask again (decisions/0175)."""

from typing import Any, Final

from wsgidav.lock_man.lock_manager import normalize_lock_root
from wsgidav.lock_man.lock_storage import LockStorageDict
from wsgidav.util import get_uri_parent

from appliance.units import MINUTE_S

#: Seconds. Programs renew what they still need; a laptop that was closed must not keep a document shut all day.
LONGEST: Final = 30 * MINUTE_S
MOST: Final = 10_000
_KEY: Final = "URL2TOKEN:"


class Locks(LockStorageDict):  # type: ignore[misc]
    """wsgidav's own store, with an end and a bound, that can say whether a folder is concerned."""

    def create(self, path: str, lock: dict[str, Any]) -> dict[str, Any]:
        """Store a lock, for LONGEST at most.

        Raises:
            MemoryError: there are MOST of them: a program does not give them back.
        """
        if len(self._dict) > 2 * MOST:
            self._purge()
            if len(self._dict) > 2 * MOST:
                raise MemoryError
        lock["timeout"] = _bounded(lock["timeout"])
        made: dict[str, Any] = super().create(path, lock)
        return made

    def refresh(self, token: str, *, timeout: float) -> dict[str, Any]:
        """Prolong a lock, for LONGEST at most."""
        found: dict[str, Any] = super().refresh(token, timeout=_bounded(timeout))
        return found

    def touches(self, ref_url: str) -> bool:
        """Return whether the resource itself, or something directly in it, is locked."""
        if not self._dict:
            return False
        wanted = normalize_lock_root(ref_url)
        for key in list(self._dict):
            if key.startswith(_KEY):
                path = key[len(_KEY) :]
                if (path == wanted or get_uri_parent(path).rstrip("/") == wanted) and (
                    self.get_lock_list(
                        path, include_root=True, include_children=False, token_only=True
                    )
                ):
                    return True
        return False

    def _purge(self) -> None:
        for token in [key for key in self._dict if not key.startswith(_KEY)]:
            self.get(token)  # removes it once it has ended


def _bounded(timeout: float) -> float:
    return float(LONGEST) if timeout < 0 or timeout > LONGEST else float(timeout)
