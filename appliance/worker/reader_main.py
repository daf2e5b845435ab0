"""The process that serves files out of snapshots: ``python -m appliance.worker.reader_main``.

Started and started again by the worker. Small at rest: Borg and the database are imported when the
first file is asked for, and repositories nobody reads are closed.
"""

import argparse
import logging
import signal
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from appliance.catalogue.reader_protocol import KitRequest, Request
from appliance.settings import Settings, load
from appliance.worker import log
from appliance.worker.reader_socket import FileToSend, ReaderSocket

if TYPE_CHECKING:
    from appliance.backup_jobs.reader import SnapshotReader
    from appliance.db.engine import Database

#: Seconds between two looks at what is idle and whether another process took our place.
LOOK_S: Final = 5.0

_log = logging.getLogger("armoire.reader")


class _Lazy:
    """The reader, made when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._door = threading.Lock()
        self.reader: SnapshotReader | None = None

    def open(self, request: Request) -> FileToSend:
        with self._door:
            if self.reader is None:
                self.reader = _make(self._settings)
        return self.reader.open(
            request.source_id,
            request.snapshot_id,
            request.path,
            request.offset,
            request.length,
        )

    def open_kit(self, request: KitRequest) -> FileToSend:
        from appliance.clock import utc_now  # noqa: PLC0415 - heavy, all of them, and rare
        from appliance.db import practice  # noqa: PLC0415
        from appliance.db.engine import open_database  # noqa: PLC0415
        from appliance.replication.kit_documents import open_document  # noqa: PLC0415

        database = open_database(self._settings.database)
        try:
            with database.read() as connection:
                settings = practice.in_force(connection, self._settings)
            return open_document(database, settings, request, now=utc_now())
        finally:
            database.close()


def _make(settings: Settings) -> "SnapshotReader":
    from appliance.backup_jobs.reader import SnapshotReader  # noqa: PLC0415 - heavy
    from appliance.db.engine import open_database  # noqa: PLC0415

    @cache
    def database() -> "Database":
        return open_database(settings.database)

    return SnapshotReader(settings, database)


def serve(settings: Settings, stop: threading.Event) -> int:
    """Serve files until ``stop`` is set or another reader takes the socket; return the exit code."""
    lazy = _Lazy(settings)
    listening = ReaderSocket(settings.reader_socket, lazy.open, open_kit=lazy.open_kit)
    thread = threading.Thread(target=listening.serve, name="reader-socket", daemon=True)
    thread.start()
    _log.info("the reader listens")
    try:
        while not stop.wait(LOOK_S):
            if listening.is_replaced():
                _log.warning("another reader took this one's place")
                break
            if lazy.reader is not None:
                lazy.reader.drop_idle()
    finally:
        listening.close()
        thread.join(timeout=LOOK_S)
        if lazy.reader is not None:
            lazy.reader.close()
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="armoire-reader", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="data folder of the box")
    given = parser.parse_args(arguments)
    settings = load(given.data)
    log.set_up(settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    return serve(settings, stop)


if __name__ == "__main__":
    raise SystemExit(main())
