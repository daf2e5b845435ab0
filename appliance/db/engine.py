"""Opening the state database: SQLite in WAL, every write ``BEGIN IMMEDIATE``, or a PostgreSQL URL."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry

from appliance.db.memory import Memory
from appliance.db.migrate import upgrade
from appliance.db.together import Together
from appliance.errors import DatabaseUnusable, NotInitialised

BUSY_MS: Final = 10_000

Result = TypeVar("Result")


class Database:
    """The state database: short reads, and writes that happen whole or not at all."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        is_file = engine.dialect.name == "sqlite" and engine.url.database
        self._together = Together(self.write)
        self._memory = Memory(Path(engine.url.database or "")) if is_file else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection that sees one consistent moment."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection inside one write transaction: committed at the end, rolled back on any error.

        Keep it short: on SQLite there is one writer at a time.
        """
        options = {"armoire_write": True}
        with (
            self.engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            yield connection

    def write_together(self, change: Callable[[Connection], Result]) -> Result:
        """Return what ``change(connection)`` returns, in a write that others of this process may share.

        Each change happens whole or not at all, and has happened for good when this returns; only the commit is
        common. To be called in a thread: it waits for the disk.

        Raises:
            Exception: what ``change`` or the commit raised.
        """
        return self._together.run(change)  # type: ignore[no-any-return]  # what this change returns

    def recall(self, key: Hashable, look: Callable[[Connection], Result]) -> Result:
        """Return ``look(connection)``, from memory for as long as nobody has committed anything since.

        Whoever writes, in whichever process, and if it is one byte: the next call looks anew. So what is
        taken away is gone with the next request, and what every request asks costs microseconds
        (docs/decisions/0191). ``look`` must depend on nothing but the database and what ``key`` says: not on the
        time.
        """
        return self.moment().recall(key, look)

    def moment(self) -> "Moment":
        """Return a moment for several readings of one request: whether anybody committed is asked once for all."""
        memory = self._memory
        return Moment(self, memory, None if memory is None else memory.moment())

    def forget_for_good(self) -> None:
        """Empty SQLite's write-ahead log: what was erased is then nowhere on the disk."""
        if self.engine.dialect.name == "sqlite":
            with self.engine.connect() as connection:
                connection.commit()
                driver = connection.connection.driver_connection
                assert driver is not None  # noqa: S101 - it is connected
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close every connection."""
        if self._memory is not None:
            self._memory.close()
        self.engine.dispose()


class Moment:
    """Recalls what was true when it was asked for, or is truer by now; for one request, not longer."""

    __slots__ = ("_database", "_memory", "_number")

    def __init__(self, database: Database, memory: Memory | None, number: int | None) -> None:
        self._database = database
        self._memory = memory
        self._number = number

    def recall(self, key: Hashable, look: Callable[[Connection], Result]) -> Result:
        """Return what ``Database.recall`` does, of this moment."""
        memory, number = self._memory, self._number
        if memory is None or number is None:
            with self._database.read() as connection:
                return look(connection)
        found, value = memory.find(number, key)
        if found:
            return value  # type: ignore[no-any-return]  # of the same key, so of the same ``look``
        with self._database.read() as connection:
            made = look(connection)
        memory.keep(number, key, made)
        return made


def open_database(url: str, *, create: bool = False) -> Database:
    """Return the database at ``url``, brought to the newest schema.

    Raises:
        NotInitialised: there is none and ``create`` is False.
        DatabaseUnusable: it is damaged, or was written by a newer program.
    """
    engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        path = engine.url.database or ""
        if not create and not Path(path).exists():
            raise NotInitialised(str(Path(path).parent))
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        upgrade(engine)
    except DatabaseError as error:
        engine.dispose()
        raise DatabaseUnusable(engine.url.render_as_string(), str(error.orig)) from error
    return Database(engine)


def _set_up_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # SQLAlchemy begins transactions itself (below); the driver must not.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # a proof or an audit event survives a power cut, not only a crash
        "foreign_keys=ON",
        "secure_delete=ON",  # an erased secret leaves no bytes behind in the file
        f"busy_timeout={BUSY_MS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that will write takes the write lock at once, so it can never deadlock half-way.
    write = connection.get_execution_options().get("armoire_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
