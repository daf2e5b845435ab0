"""Folders that hold a live database: a raw copy of one may not start again (domain.md APP-03)."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from appliance.language import mark
from appliance.model import SourceId
from appliance.policy.findings import Finding, Severity


class DatabaseEngine(StrEnum):
    """Whose files they are."""

    POSTGRESQL = "postgresql"
    INNODB = "innodb"
    SQL_SERVER = "sql-server"
    ORACLE = "oracle"
    HFSQL = "hfsql"
    DBASE = "dbase"  # no server: whole if the program is closed while it is read


ENGINE_NAMES: Final[dict[DatabaseEngine, str]] = {
    DatabaseEngine.POSTGRESQL: "PostgreSQL",
    DatabaseEngine.INNODB: "MariaDB/MySQL (InnoDB)",
    DatabaseEngine.SQL_SERVER: "SQL Server",
    DatabaseEngine.ORACLE: "Oracle",
    DatabaseEngine.HFSQL: "HFSQL",
    DatabaseEngine.DBASE: "dBase",
}

#: First byte of a dBase or FoxPro table. Source: the dBase and Visual FoxPro table file structures.
_DBASE_VERSIONS: Final = bytes.fromhex("0203040530313243638387 8b8ecbe5f5fb".replace(" ", ""))
_ORACLE_COMPANIONS: Final = ("control01.ctl", "system01.dbf", "sysaux01.dbf", "redo01.log")


def is_dbase(head: bytes) -> bool:
    """Return whether a .dbf begins as a dBase table does: a version, then a date, then a length."""
    if len(head) < 12 or head[0] not in _DBASE_VERSIONS:
        return False
    month, day = head[2], head[3]
    header_length = int.from_bytes(head[8:10], "little")
    dated = (1 <= month <= 12 and 1 <= day <= 31) or (month == 0 and day == 0)
    return dated and header_length >= 33


def detect_live_database(
    names_in_folder: Iterable[str], heads: Mapping[str, bytes] | None = None
) -> DatabaseEngine | None:
    """Return whose live files a folder holds, None if it holds none.

    Args:
        names_in_folder: names of one folder, without their path, any case.
        heads: first bytes (64 or more) of some of the files, by name as given: they tell Oracle's
            ``.dbf`` from dBase's, and a disc image from SQL Server's ``.mdf``.
    """
    given = list(names_in_folder)
    names = {name.lower() for name in given}
    seen = {name.lower(): head for name, head in (heads or {}).items()}
    if "pg_version" in names:
        return DatabaseEngine.POSTGRESQL
    if "ibdata1" in names or _ending(names, ".ibd"):
        return DatabaseEngine.INNODB
    if any(seen.get(name, b"\x01\x0f")[:2] == b"\x01\x0f" for name in _ending(names, ".mdf")):
        return DatabaseEngine.SQL_SERVER
    if _ending(names, ".ldf"):
        return DatabaseEngine.SQL_SERVER
    if _ending(names, ".fic"):
        return DatabaseEngine.HFSQL
    tables = _ending(names, ".dbf")
    if not tables:
        return None
    if any(is_dbase(seen.get(name, b"")) for name in tables):
        return DatabaseEngine.DBASE
    if any(companion in names for companion in _ORACLE_COMPANIONS):
        return DatabaseEngine.ORACLE
    # Bytes that are no dBase table: better warned once too often.
    return DatabaseEngine.ORACLE if any(seen.get(name) for name in tables) else None


def _ending(names: Iterable[str], suffix: str) -> list[str]:
    return [name for name in names if name.endswith(suffix)]


def live_database_finding(source_id: SourceId, label: str, engine: DatabaseEngine) -> Finding:
    """Return the warning about a live database that is copied raw."""
    facts = {"label": label, "engine": ENGINE_NAMES[engine]}
    if engine is DatabaseEngine.DBASE:
        return Finding(
            "database.open-tables",
            Severity.NOTICE,
            mark(
                "«%(label)s» holds tables of %(engine)s: they are whole only if nobody has them open."
            ),
            mark("Close the program before the night, or choose the recipe with a shadow copy."),
            facts,
            source_id,
        )
    return Finding(
        "database.copied-raw",
        Severity.WARNING,
        mark(
            "«%(label)s» holds the files of a %(engine)s database: a plain copy may not start again."
        ),
        mark(
            "Choose the recipe for this database, or the folder where its editor's own backup lands."
        ),
        facts,
        source_id,
    )
