"""The comment every archive of ours carries: which run made it, and as which snapshot.

It is what lets a night that was cut after its archive was committed be listed afterwards.
"""

import json
from dataclasses import asdict, dataclass

from appliance import __version__
from appliance.model import Consistency, JobId, SnapshotId


@dataclass(frozen=True, slots=True)
class ArchiveComment:
    """What an archive says about its making."""

    run: JobId
    snapshot: SnapshotId
    consistency: Consistency
    program: str = f"armoire {__version__}"

    def text(self) -> str:
        """Return it as the JSON that Borg stores."""
        return json.dumps(asdict(self), sort_keys=True)


def read_comment(text: str) -> ArchiveComment | None:
    """Return what an archive says about its making, None when it was not made by this program."""
    try:
        found = json.loads(text)
        return ArchiveComment(
            run=JobId(int(found["run"])),
            snapshot=SnapshotId(int(found["snapshot"])),
            consistency=Consistency(found["consistency"]),
            program=str(found["program"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
