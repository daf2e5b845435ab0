"""A share's past, as every page of it asks: whether one sees the share, and where the catalogue has a path of it.

The right to see the share now is the right to see its past; a night of another source is not there.
"""

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


async def of_night(
    box: Box, visitor: Visitor, share: str, snapshot_id: SnapshotId, p: str
) -> tuple[Held, Snapshot, bytes]:
    """Return a share one sees, one of its nights, and a path below the share.

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
    return held, night, path


def stored_root(held: Held) -> bytes:
    """Return where the catalogue of a share's source has the share: its folder without the first «/»."""
    return bytes(held.share.folder).lstrip(b"/")


def stored_path(held: Held, path: bytes) -> bytes:
    """Return where the catalogue of a share's source has ``path``."""
    root = stored_root(held)
    return paths.join(root, path) if path else root
