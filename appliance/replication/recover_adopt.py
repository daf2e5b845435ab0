"""After a recovery: what lies at a place is written into the new box's own record.

The state in a generation was taken before that generation was published, so it knows the one before at
most; and the files that came back have new times. Without this the next push would take the newest
generation for another box's, and send everything again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from appliance.db import copies
from appliance.db.engine import Database
from appliance.db.schema import copy_object, generation
from appliance.db.targets import TargetId
from appliance.replication.manifest import CopiedFile
from appliance.replication.recover_choice import Content, Looked, content


def adopt(
    database: Database,
    target_id: TargetId,
    generations: Sequence[Looked],
    times: Mapping[Content, int],
    *,
    now: datetime,
) -> int:
    """Record generations and objects found at a place; return how many generations were new to the record.

    One transaction; safe to call again.

    Args:
        database: of the new box.
        target_id: the place.
        generations: as ``look`` opened them, in any order.
        times: content that came back → modification time of its file now, nanoseconds.
        now: aware UTC.
    """
    fresh = 0
    with database.write() as connection:
        # Sealed and not yet sent when the state was taken: the spool burnt.
        unsent = [each.id for each in copies.living(connection, target_id) if each.put_at is None]
        copies.removed(connection, unsent, now=now)
        for looked in sorted(generations, key=lambda each: each.number):
            fresh += _one(connection, target_id, looked, times, now)
    return fresh


def _one(
    connection: Connection,
    target_id: TargetId,
    looked: Looked,
    times: Mapping[Content, int],
    now: datetime,
) -> int:
    files = () if looked.manifest is None else looked.manifest.files
    absent = set(looked.missing)
    here = [file for file in files if file not in absent]
    ids = _objects(connection, target_id, here, times, now)
    row = connection.execute(
        select(generation.c.id, generation.c.sha256, generation.c.published_at).where(
            generation.c.target_id == target_id, generation.c.number == looked.number
        )
    ).first()
    if row is not None and row.sha256 == looked.sha256:
        if row.published_at is None:
            copies.published(connection, target_id, looked.number, now=now)
        return 0
    if row is not None:
        # About to be published when the state was taken, and built anew since: the one there counts.
        connection.execute(delete(generation).where(generation.c.id == row.id))
    copies.intend(
        connection,
        target_id,
        number=looked.number,
        taken_at=looked.taken_at,
        sha256=looked.sha256,
        previous="" if looked.manifest is None else looked.manifest.previous,
        objects=ids,
        plain_bytes=sum(file.plain_size for file in here),
        new_bytes=0,
    )
    copies.published(connection, target_id, looked.number, now=now)
    return 1


def _objects(
    connection: Connection,
    target_id: TargetId,
    files: Sequence[CopiedFile],
    times: Mapping[Content, int],
    now: datetime,
) -> list[int]:
    rows = connection.execute(
        select(copy_object.c.name, copy_object.c.id).where(copy_object.c.target_id == target_id)
    )
    known = {str(row.name): int(row.id) for row in rows}
    ids, added = [], []
    for file in files:
        name = file.object.rpartition("/")[2]
        time = times.get(content(file), 0)  # 0: no file here has it, so none reuses it
        identity = known.get(name)
        if identity is None:
            identity = copies.sealed(
                connection,
                target_id,
                name=name,
                repository=file.repository,
                path=file.path,
                plain_size=file.plain_size,
                plain_mtime_ns=time,
                plain_sha256=file.plain_sha256,
                sealed_size=file.sealed_size,
                sealed_sha256=file.sealed_sha256,
                now=now,
            )
            known[name] = identity
            added.append(identity)
        else:
            connection.execute(
                update(copy_object)
                .where(copy_object.c.id == identity)
                .values(plain_mtime_ns=time, removed_at=None)
            )
        ids.append(identity)
    copies.put(connection, added, now=now)
    return ids
