"""A share's past, as every page of it asks: whether one sees the share, and where the catalogue has a path of it.

The right to see the share now is the right to see its past; a night of another source is not there.
"""

import os
from dataclasses import dataclass

from sqlalchemy import Connection

from appliance.catalogue.moved import Place
from appliance.db import snapshots
from appliance.disk import paths
from appliance.disk.access import Held
from appliance.errors import InvalidInput, NotFound
from appliance.language import mark
from appliance.model import Snapshot, SnapshotId
from appliance.packed import unpack_path
from appliance.policy.share_rights import Right
from appliance.web.api.upload import held_by
from appliance.web.deps import Box, Visitor


async def seen_by(box: Box, visitor: Visitor, share: str, p: str) -> tuple[Held, bytes]:
    """Return a share one sees, and a path of it; b"" is the share itself.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    path = unpack_path(p)
    paths.split(path)
    return held, path


@dataclass(frozen=True, slots=True)
class PastThing:
    """Something of a share in one of its nights."""

    held: Held
    night: Snapshot
    path: bytes  # below the share
    root: bytes  # where the catalogue has the share in this night

    @property
    def stored(self) -> bytes:
        """Where the catalogue has it in this night."""
        return _below(self.root, self.path)


async def of_night(
    box: Box, visitor: Visitor, share: str, snapshot_id: SnapshotId, p: str
) -> PastThing:
    """Return a path below a share one sees, in one of its nights.

    Raises:
        NotFound: also for a night of another source: not this person's business.
        NotAllowed.
        InvalidInput: also for the share itself.
    """
    held, path = await seen_by(box, visitor, share, p)
    if not path:
        raise InvalidInput("path", mark("This is not a path of a share."))
    with box.database.read() as connection:
        night = snapshots.get(connection, snapshot_id)
        if night.source_id != held.share.source_id:
            raise NotFound("snapshot", str(snapshot_id))
        return in_night(connection, held, night, path)


def in_night(connection: Connection, held: Held, night: Snapshot, path: bytes) -> PastThing:
    """Return a path of a share in a night of its source; b"" is the share itself."""
    then = snapshots.root(connection, night.id)
    return PastThing(held, night, path, root_now(held) if then is None else _stored(then))


def places(connection: Connection, held: Held, path: bytes) -> list[Place]:
    """Return where the catalogue of a share's source has ``path``, the newest place first: a share may be moved."""
    now = root_now(held)
    nights: dict[bytes, set[SnapshotId]] = {now: set()}
    if held.share.source_id is not None:
        then = snapshots.roots(connection, held.share.source_id)
        for snapshot_id in sorted(then, reverse=True):
            nights.setdefault(_stored(then[snapshot_id]), set()).add(snapshot_id)
    if len(nights) == 1:
        return [Place(_below(now, path))]
    return [Place(_below(root, path), known) for root, known in nights.items()]


def root_now(held: Held) -> bytes:
    """Return where the catalogue of a share's source has the share in a night to come."""
    return _stored(os.fspath(held.share.folder))


def _stored(folder: str) -> bytes:
    return os.fsencode(folder).strip(b"/")


def _below(root: bytes, path: bytes) -> bytes:
    return paths.join(root, path) if path else root
