"""Shares and who was granted what on them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NewType

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from appliance.db import practice
from appliance.db.schema_disk import share, share_grant
from appliance.errors import AlreadyExists, NotFound
from appliance.model import PersonId, Role, SourceId
from appliance.policy.share_rights import Grant, Right

ShareId = NewType("ShareId", int)


@dataclass(frozen=True, slots=True)
class Share:
    """A folder tree of the network disk."""

    id: ShareId
    name: str  # slug; its name over SMB and WebDAV
    label: str  # what people read
    folder: Path
    source_id: SourceId | None
    over_smb: bool
    over_dav: bool
    is_time_machine: bool
    bin_days: int
    quota_bytes: int | None
    used_bytes: int  # measured nightly; what came through our doors since is added
    created_at: datetime


def add(
    connection: Connection,
    *,
    name: str,
    label: str,
    folder: Path,
    now: datetime,
    source_id: SourceId | None = None,
    bin_days: int = practice.USUAL_BIN_DAYS,
) -> Share:
    """Add a share and return it; nobody has a right on it yet.

    Raises:
        AlreadyExists: a living share has this name.
    """
    try:
        with connection.begin_nested():
            result = connection.execute(
                insert(share).values(
                    name=name,
                    label=label,
                    folder=str(folder),
                    source_id=source_id,
                    bin_days=bin_days,
                    created_at=now,
                )
            )
    except IntegrityError as error:
        raise AlreadyExists("share", name) from error
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    return get(connection, ShareId(result.inserted_primary_key[0]))


def get(connection: Connection, share_id: ShareId) -> Share:
    """Return a living share.

    Raises:
        NotFound: there is none, or it was removed.
    """
    row = connection.execute(
        select(share).where(share.c.id == share_id, share.c.removed_at.is_(None))
    ).first()
    if row is None:
        raise NotFound("share", str(share_id))
    return _share(row)


def get_by_name(connection: Connection, name: str) -> Share:
    """Return the living share called ``name``.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(
        select(share).where(share.c.name == name, share.c.removed_at.is_(None))
    ).first()
    if row is None:
        raise NotFound("share", name)
    return _share(row)


def all_living(connection: Connection) -> list[Share]:
    """Return the living shares by label."""
    query = select(share).where(share.c.removed_at.is_(None)).order_by(share.c.label, share.c.id)
    return [_share(row) for row in connection.execute(query)]


def change(connection: Connection, share_id: ShareId, **values: object) -> None:
    """Set columns of a living share.

    Raises:
        NotFound: there is none.
    """
    changed = connection.execute(
        update(share).where(share.c.id == share_id, share.c.removed_at.is_(None)).values(**values)
    )
    if changed.rowcount == 0:
        raise NotFound("share", str(share_id))


def add_use(connection: Connection, share_id: ShareId, size_bytes: int) -> None:
    """Add what came in, or with a negative number went for good, to what a share is known to hold."""
    connection.execute(
        update(share)
        .where(share.c.id == share_id)
        .values(used_bytes=share.c.used_bytes + size_bytes)
    )


def remove(connection: Connection, share_id: ShareId, *, now: datetime) -> None:
    """Close a share: every door of it, and every grant; its files stay where they are.

    Raises:
        NotFound: there is none.
    """
    change(connection, share_id, removed_at=now)
    connection.execute(delete(share_grant).where(share_grant.c.share_id == share_id))


def grants(connection: Connection, share_id: ShareId | None = None) -> list[Grant]:
    """Return the grants on a share, or on every living one."""
    query = select(share_grant).join(share, share.c.id == share_grant.c.share_id)
    query = query.where(share.c.removed_at.is_(None)).order_by(share_grant.c.id)
    if share_id is not None:
        query = query.where(share_grant.c.share_id == share_id)
    return [
        Grant(
            row.share_id,
            frozenset(Right(each) for each in row.rights),
            None if row.person_id is None else PersonId(row.person_id),
            None if row.role is None else Role(row.role),
        )
        for row in connection.execute(query)
    ]


def grant(
    connection: Connection,
    share_id: ShareId,
    rights: Iterable[Right],
    *,
    person_id: PersonId | None = None,
    role: Role | None = None,
    by: PersonId | None,
    now: datetime,
) -> None:
    """Give a person or a role exactly these rights on a share; none of them takes all away.

    The caller writes the ledger.
    """
    whom = (
        share_grant.c.person_id == person_id
        if person_id is not None
        else share_grant.c.role == (role.value if role else None)
    )
    connection.execute(delete(share_grant).where(share_grant.c.share_id == share_id, whom))
    wanted = sorted(each.value for each in rights)
    if wanted:
        connection.execute(
            insert(share_grant).values(
                share_id=share_id,
                person_id=person_id,
                role=None if role is None else role.value,
                rights=wanted,
                granted_by=by,
                granted_at=now,
            )
        )


def _share(row: Row[Any]) -> Share:
    return Share(
        id=ShareId(row.id),
        name=row.name,
        label=row.label,
        folder=Path(row.folder),
        source_id=None if row.source_id is None else SourceId(row.source_id),
        over_smb=row.over_smb,
        over_dav=row.over_dav,
        is_time_machine=row.is_time_machine,
        bin_days=row.bin_days,
        quota_bytes=row.quota_bytes,
        used_bytes=row.used_bytes,
        created_at=row.created_at,
    )
