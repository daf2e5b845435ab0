"""The process that keeps what the shares contain searchable: ``python -m appliance.worker.index_main``.

Started and started again by the worker. It reads folders, never files: texts come from the process of the
previews. Killed at any moment, the next one looks at every share again.
"""

import argparse
import logging
import os
import signal
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from appliance.db.sqlite_file import Access, open_sqlite
from appliance.errors import ArmoireError
from appliance.settings import Settings, load
from appliance.worker import locks, log

if TYPE_CHECKING:
    from appliance.db.engine import Database
    from appliance.db.practice import Searched
    from appliance.db.shares import Share

#: The people at their desks come first.
NICE: Final = 10
#: Seconds between two looks whether there is a share by now.
LOOK_S: Final = 2.0

_log = logging.getLogger("armoire.index")


class _Living:
    """The shares there are; those of the last time while the database does not answer."""

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._known: list[Share] = []

    def __call__(self) -> "list[Share]":
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - see ``serve``

        from appliance.db import shares  # noqa: PLC0415

        try:
            with self._database.read() as connection:
                self._known = shares.all_living(connection)
        except SQLAlchemyError as error:
            _log.error("the database: %s", log.where(error))
        return self._known


class _Searched:
    """What is read of documents; the last answer while the database does not give one."""

    def __init__(self, database: "Database", usual: "Searched") -> None:
        self._database = database
        self._usual = usual
        self._known = usual

    def __call__(self) -> "Searched":
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - see ``serve``

        from appliance.db import practice  # noqa: PLC0415

        try:
            with self._database.read() as connection:
                self._known = practice.searched(connection, self._usual)
        except SQLAlchemyError as error:
            _log.error("the database: %s", log.where(error))
        return self._known


def _write_blind(database: "Database", blind: frozenset[int]) -> None:
    """Write down the shares that cannot be watched whole: the page that says what needs doing reads it."""
    from appliance.clock import utc_now  # noqa: PLC0415 - see ``serve``
    from appliance.db import facts  # noqa: PLC0415
    from appliance.policy.findings import BLIND  # noqa: PLC0415

    with database.read() as connection:
        known = facts.find(connection, BLIND)
    if sorted(blind) != (known or []):
        with database.write() as connection:
            facts.put(connection, BLIND, sorted(blind), now=utc_now())


def serve(settings: Settings, stop: threading.Event) -> int:
    """Keep the indexes until ``stop`` is set; return the exit code."""
    with locks.hold(settings.run / "index.lock") as is_mine:
        if not is_mine:
            _log.warning("another process keeps the indexes")
            stop.wait(LOOK_S)
            return 1
        while not _has_shares(settings):
            if stop.wait(LOOK_S):
                return 0
        # Late: a box without a share spares the 30 MB.
        from appliance.db.engine import open_database  # noqa: PLC0415
        from appliance.db.practice import Searched  # noqa: PLC0415
        from appliance.disk.index_work import Librarian  # noqa: PLC0415

        database = open_database(settings.database)
        librarian = Librarian(
            settings,
            _Living(database),
            searched=_Searched(database, Searched(dicom=bool(settings.index_dicom_fields))),
            on_blind=partial(_write_blind, database),
        )
        try:
            while not stop.is_set():
                try:
                    librarian.turn()
                except (ArmoireError, OSError) as error:
                    _log.error("the indexes: %s", log.where(error))
                    stop.wait(LOOK_S)
        finally:
            librarian.close()
            database.close()
    return 0


def _has_shares(settings: Settings) -> bool:
    if settings.database_url:
        return True
    try:
        with closing(open_sqlite(settings.data / "state.sqlite", Access.READ)) as connection:
            found = connection.execute("SELECT 1 FROM share WHERE removed_at IS NULL LIMIT 1")
            return found.fetchone() is not None
    except sqlite3.Error:
        return False  # not made yet


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="armoire-index", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="data folder of the box")
    given = parser.parse_args(arguments)
    settings = load(given.data)
    log.set_up(settings.log_level)
    os.nice(NICE)
    os.umask(0o007)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    parent = os.getppid()

    def stop_without_parent() -> None:
        # A worker that was killed is followed by another, whose own index process waits for our lock.
        while not stop.wait(LOOK_S):
            if os.getppid() != parent:
                stop.set()

    threading.Thread(target=stop_without_parent, name="parent", daemon=True).start()
    return serve(settings, stop)


if __name__ == "__main__":
    raise SystemExit(main())
