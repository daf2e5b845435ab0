"""The one door to SQLite files that are not the state database: a catalogue is one.

Every connection is in autocommit: who needs a transaction says ``BEGIN``.
"""

import os
import sqlite3
from enum import StrEnum
from pathlib import Path
from typing import Final

from appliance.units import MIB

BUSY_READ_MS: Final = 5_000
#: A second writer is told at once instead of waiting for a night to end.
BUSY_WRITE_MS: Final = 200


class Access(StrEnum):
    """What a connection is for."""

    READ = "read"  # mode=ro: never creates, never writes
    WRITE = "write"  # WAL; readers go on seeing the last commit
    BUILD = "build"  # a new file nobody else knows yet: not safe until ``settle``
    REBUILD = "rebuild"  # such a file again


def open_sqlite(path: Path, access: Access) -> sqlite3.Connection:
    """Return a connection to the SQLite file ``path``; it may be used by one thread at a time.

    READ and WRITE never create a file. BUILD creates one (0660: the readers of a WAL file need
    its ``-shm``), which must not exist.

    Raises:
        sqlite3.DatabaseError: the file is missing, no database, or locked.
        FileExistsError: BUILD on a file that is there.
    """
    if access is Access.BUILD:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        os.fchmod(descriptor, 0o660)  # whatever the umask: SQLite gives ``-shm`` the same mode
        os.close(descriptor)
    mode = "ro" if access is Access.READ else "rw"
    connection = sqlite3.connect(  # noqa: TID251 - this is the door the ban points to
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    pragmas: tuple[str, ...]
    match access:
        case Access.READ:
            pragmas = (
                f"busy_timeout={BUSY_READ_MS}",
                "query_only=ON",
                f"mmap_size={256 * MIB}",
                "cache_size=-8000",
            )
        case Access.WRITE:
            pragmas = (
                f"busy_timeout={BUSY_WRITE_MS}",
                "journal_mode=WAL",
                "synchronous=FULL",
                "cache_size=-32000",
            )
        case Access.BUILD | Access.REBUILD:
            pragmas = ("journal_mode=MEMORY", "synchronous=OFF", "cache_size=-32000")
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def is_locked(error: sqlite3.Error) -> bool:
    """Say whether ``error`` means that another connection is writing."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
