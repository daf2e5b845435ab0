"""The process that keeps what the shares contain searchable: ``python -m appliance.worker.index_main``.

Started and started again by the worker. It reads folders, never files: texts come from the process of the
previews. Killed at any moment, the next one looks at every share again.
"""

import argparse
import logging
import os
import signal
import threading
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from appliance.db import shares
from appliance.db.engine import Database, open_database
from appliance.db.shares import Share
from appliance.disk.index_work import SHARES_S, Librarian
from appliance.errors import ArmoireError
from appliance.settings import Settings, load
from appliance.worker import locks, log

#: The people at their desks come first.
NICE: Final = 10

_log = logging.getLogger("armoire.index")


class _Living:
    """The shares there are; those of the last time while the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: list[Share] = []

    def __call__(self) -> list[Share]:
        try:
            with self._database.read() as connection:
                self._known = shares.all_living(connection)
        except SQLAlchemyError as error:
            _log.error("the database: %s", log.where(error))
        return self._known


def serve(settings: Settings, stop: threading.Event) -> int:
    """Keep the indexes until ``stop`` is set; return the exit code."""
    with locks.hold(settings.run / "index.lock") as is_mine:
        if not is_mine:
            _log.warning("another process keeps the indexes")
            stop.wait(SHARES_S)
            return 1
        database = open_database(settings.database)
        librarian = Librarian(settings, _Living(database))
        try:
            while not stop.is_set():
                try:
                    librarian.turn()
                except (ArmoireError, OSError) as error:
                    _log.error("the indexes: %s", log.where(error))
                    stop.wait(SHARES_S)
        finally:
            librarian.close()
            database.close()
    return 0


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
    return serve(settings, stop)


if __name__ == "__main__":
    raise SystemExit(main())
