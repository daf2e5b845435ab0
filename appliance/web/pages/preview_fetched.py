"""Files of snapshots that are being looked at: fetched whole through the worker's reader, bounded, without a name.

Who makes the pictures is handed something open and opens nothing itself; what was fetched lies in no folder.
"""

import os
import tempfile
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from appliance.catalogue.reader_client import open_file
from appliance.disk.preview.reasons import WORDS
from appliance.errors import NotPreviewed
from appliance.model import SnapshotId, SourceId
from appliance.settings import Settings
from appliance.units import KIB, MIB

#: Of a file of a snapshot that is looked at.
LARGEST: Final = 256 * MIB
#: What a slice says of itself stands before its pixels.
HEAD: Final = 256 * KIB
#: Files of snapshots kept open, so that turning a page reads no repository again.
KEPT_FILES: Final = 16
KEPT_BYTES: Final = 512 * MIB
KEPT_S: Final = 120.0


_Key = tuple[SourceId, SnapshotId, bytes]


class _Nameless:
    """A descriptor of a file that has no name; closed with the last who knows it."""

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size
        self.at = time.monotonic()

    def again(self) -> int:
        """Open it once more: who gets it has a place of their own in it."""
        return os.open(f"/proc/self/fd/{self.number}", os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self.number)


class Fetched:
    """The last files that were looked at out of snapshots: without a name, and gone with this process."""

    def __init__(self, settings: Settings) -> None:
        """Fetch through the reader of ``settings``."""
        self._settings = settings
        self._door = threading.Lock()
        self._kept: OrderedDict[_Key, _Nameless] = OrderedDict()
        self._coming: dict[_Key, Future[_Nameless]] = {}

    def open(self, source_id: SourceId, snapshot_id: SnapshotId, path: bytes) -> int:
        """Return a descriptor of a file's bytes, for reading, that the caller closes.

        Raises:
            NotPreviewed: it is larger than LARGEST, or there is no room for it here.
            NotFound, WorkerUnreachable, RepositoryDamaged …: as ``reader_client.open_file``.
        """
        key = (source_id, snapshot_id, path)
        with self._door:
            if (kept := self._find(key)) is not None:
                return kept.again()
            coming = self._coming.get(key)
            if is_first := coming is None:
                coming = self._coming[key] = Future()
        assert coming is not None  # noqa: S101 - made above
        if not is_first:
            return coming.result().again()  # whoever comes meanwhile waits for the same bytes
        try:
            fetched = _fetch(self._settings, source_id, snapshot_id, path, LARGEST)
        except BaseException as error:
            with self._door:
                del self._coming[key]
            coming.set_exception(error)
            raise
        with self._door:
            del self._coming[key]
            self._keep(key, fetched)
        coming.set_result(fetched)
        return fetched.again()

    def head(self, source_id: SourceId, snapshot_id: SnapshotId, path: bytes) -> int:
        """As ``open``, but only the first HEAD bytes are fetched, unless all are here; zeros follow."""
        key = (source_id, snapshot_id, path)
        with self._door:
            if (kept := self._find(key)) is not None:
                return kept.again()
        fetched = _fetch(self._settings, source_id, snapshot_id, path, None)
        if fetched.size <= HEAD:  # this is all of it
            with self._door:
                self._keep(key, fetched)
        return fetched.again()

    def _find(self, key: _Key) -> _Nameless | None:
        self._forget()
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    def _keep(self, key: _Key, fetched: _Nameless) -> None:
        self._kept[key] = fetched
        self._forget()

    def _forget(self) -> None:
        oldest = time.monotonic() - KEPT_S
        for key, kept in list(self._kept.items()):
            if kept.at < oldest:
                del self._kept[key]
        while len(self._kept) > 1 and (
            len(self._kept) > KEPT_FILES
            or sum(each.size for each in self._kept.values()) > KEPT_BYTES
        ):
            self._kept.popitem(last=False)


def _fetch(
    settings: Settings,
    source_id: SourceId,
    snapshot_id: SnapshotId,
    path: bytes,
    largest: int | None,
) -> _Nameless:
    """Return a file without a name that holds a file of a snapshot, or its head when ``largest`` is None."""
    place = settings.previews
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    length = HEAD if largest is None else None
    with open_file(settings, source_id, snapshot_id, path, 0, length) as opened:
        if largest is not None and opened.size > largest:
            raise NotPreviewed(WORDS["large"])
        try:
            with tempfile.TemporaryFile(dir=place) as file:
                for block in opened.blocks:
                    file.write(block)
                file.truncate(opened.size)
                return _Nameless(os.dup(file.fileno()), opened.size)
        except OSError as error:  # no room for it here
            raise NotPreviewed(WORDS["large"]) from error
