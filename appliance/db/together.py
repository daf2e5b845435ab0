"""Changes that wait for the same disk are committed together: one transaction, one sync, each whole or not at all.

Whoever finds nobody at work does what has gathered, its own and the others'; the others wait for it. So a process
never queues at SQLite's lock against itself, where who waits longest is served last and each holds a connection, and
forty openings of files cost one wait for the disk and not forty (docs/decisions/0191).
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from sqlalchemy import Connection

#: Changes in one transaction at most: the first of them waits for the last.
MOST: Final = 64


class _Waiting:
    """A change, and what became of it."""

    def __init__(self, change: Callable[[Connection], Any]) -> None:
        self.change = change
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None


class Together:
    """Gathers the changes of a process's threads."""

    def __init__(self, write: Callable[[], AbstractContextManager[Connection]]) -> None:
        """Commit with ``write``, one transaction at a time."""
        self._write = write
        self._work = threading.Lock()
        self._door = threading.Lock()
        self._waiting: list[_Waiting] = []

    def run(self, change: Callable[[Connection], Any]) -> Any:  # noqa: ANN401 - what the change returns
        """Return what ``change(connection)`` returned, once it is committed.

        Raises:
            Exception: what ``change`` raised: nothing of it is stored. What the commit raised: nothing of any.
        """
        mine = _Waiting(change)
        with self._door:
            self._waiting.append(mine)
        while not mine.is_done:
            with self._work:
                if mine.is_done:
                    break
                with self._door:
                    some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                self._do(some)
        if mine.error is not None:
            raise mine.error
        return mine.result

    def _do(self, some: list[_Waiting]) -> None:
        try:
            with self._write() as connection:
                if len(some) == 1:
                    some[0].result = some[0].change(connection)
                else:
                    for each in some:
                        _apart(connection, each)
        except BaseException as error:
            for each in some:
                each.error = each.error or error
                each.result = None
            if not isinstance(error, Exception):
                raise
        finally:
            for each in some:
                each.is_done = True


def _apart(connection: Connection, one: _Waiting) -> None:
    """Make one change of several; if it fails, the others do not know.

    Raises:
        Exception: what failed took the whole transaction with it, and the changes before this one.
    """
    try:
        with connection.begin_nested():
            try:
                one.result = one.change(connection)
            except Exception as error:
                one.error = error
                raise
    except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
        one.error = one.error or error  # not «no such savepoint»
        if not _is_open(connection):
            raise one.error from one.error.__cause__


def _is_open(connection: Connection) -> bool:
    """Return whether the transaction is still there.

    SQLite takes all of it back by itself on a full disk or when reading or writing fails. The next savepoint would
    begin another one and its release commit that. Source: sqlite.org/lang_transaction.html, §3.
    """
    if connection.dialect.name != "sqlite":
        return True  # PostgreSQL's commit fails for all
    driver = connection.connection.driver_connection
    return driver is not None and bool(driver.in_transaction)
