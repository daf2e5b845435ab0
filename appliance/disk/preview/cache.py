"""Previews kept for a while, so that turning back a page costs nothing: on the box's disk, bounded, soon forgotten.

A key says which file (by what changes with its content), and what was made of it. Rights are asked before this
is; nothing here says whose a file is or what it is called.
"""

import os
import threading
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

from appliance.disk.preview.protocol import JSON, PIXELS, WEBP, Answer, Wanted
from appliance.units import DAY_S, MIB

#: Changed when the same file would give another picture.
VERSION: Final = 1
MOST_BYTES: Final = 512 * MIB
LONGEST_S: Final = 7 * DAY_S
#: Answers written between two looks at how much there is.
TIDIED_EVERY: Final = 200
_TYPES: Final = {b"w": WEBP, b"j": JSON, b"p": PIXELS}
_LETTERS: Final = {kind: letter for letter, kind in _TYPES.items()}


class Cache:
    """The previews under ``folder``."""

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
        """Keep at most about ``most_bytes`` there."""
        self._folder = folder
        self._most_bytes = most_bytes
        self._written = 0
        self._door = threading.Lock()

    def find(self, scope: str, etag: str, wanted: Wanted) -> Answer | None:
        """Return what was kept, or None; ``scope`` says whose file it is: a share's number, or a source."""
        place = self._place(scope, etag, wanted)
        try:
            raw = place.read_bytes()
        except OSError:
            return None
        kind = _TYPES.get(raw[:1])
        return Answer(kind, raw[1:]) if kind else None

    def keep(self, scope: str, etag: str, wanted: Wanted, answer: Answer) -> None:
        """Keep an answer; a full disk only means that it is not kept."""
        place = self._place(scope, etag, wanted)
        draft = place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_bytes(_LETTERS[answer.type] + answer.body)
            draft.chmod(0o600)
            draft.replace(place)
        except OSError:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            return
        with self._door:
            self._written += 1
            is_time = self._written % TIDIED_EVERY == 1
        if is_time:
            self.tidy()

    def tidy(self) -> None:
        """Forget what is a week old, and the oldest of what is too much."""
        found: list[tuple[float, int, Path]] = []
        for place in self._folder.glob("*/*"):
            with suppress(OSError):
                facts = place.stat()
                found.append((facts.st_mtime, facts.st_size, place))
        found.sort(reverse=True)
        total, oldest = 0, time.time() - LONGEST_S
        for kept_at, size, place in found:
            total += size
            if total > self._most_bytes or kept_at < oldest:
                with suppress(OSError):
                    place.unlink()

    def _place(self, scope: str, etag: str, wanted: Wanted) -> Path:
        told = f"{VERSION}\0{scope}\0{etag}\0".encode() + wanted.pack()
        key = blake2b(told, digest_size=20).hexdigest()
        return self._folder / key[:2] / key
