"""Restore sheets: a record of every restore (domain.md SAV-16)."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from appliance.db.schema import restore_sheet
from appliance.errors import NotFound
from appliance.model import Outcome, RestoreSheet


def add(connection: Connection, sheet: RestoreSheet, *, paths: Sequence[str]) -> int:
    """Store a sheet (its ``id`` is ignored) with the base64 of the paths asked for; return its number."""
    values = asdict(sheet)
    del values["id"]
    values["check"] = sheet.check.value
    result = connection.execute(insert(restore_sheet).values(**values, paths=list(paths)))
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    return int(result.inserted_primary_key[0])


def get(connection: Connection, sheet_id: int) -> tuple[RestoreSheet, list[str]]:
    """Return a sheet and the base64 of its paths.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(select(restore_sheet).where(restore_sheet.c.id == sheet_id)).first()
    if row is None:
        raise NotFound("restore sheet", str(sheet_id))
    return _sheet(row), list(row.paths)


def newest(connection: Connection, *, limit: int = 100) -> list[RestoreSheet]:
    """Return sheets newest first."""
    query = select(restore_sheet).order_by(restore_sheet.c.id.desc()).limit(limit)
    return [_sheet(row) for row in connection.execute(query)]


def _sheet(row: Row[Any]) -> RestoreSheet:
    values = dict(row._mapping)  # noqa: SLF001 - the public name
    del values["paths"]
    values["check"] = Outcome(values["check"])
    return RestoreSheet(**values)
