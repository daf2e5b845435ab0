"""A body on its way in over WebDAV: written to a part, then given its name in one step."""

import os
from pathlib import Path

from wsgidav.dav_error import DAVError

from appliance import folders
from appliance.disk import bin as bins
from appliance.disk import listing, moves
from appliance.disk.access import Held
from appliance.disk.copying import FILE_MODE
from appliance.disk.paths import open_parent


class Arriving:
    """A part being written; an error of the disk becomes the status programs know."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.size = 0
        self._descriptor = os.open(
            place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE
        )

    def write(self, data: bytes) -> None:
        """Append.

        Raises:
            DAVError: 507, the disk is full.
        """
        view = memoryview(data)
        while view:
            try:
                count = os.write(self._descriptor, view)
            except OSError:
                raise DAVError(507, "disk.full") from None
            view = view[count:]
            self.size += count

    def close(self) -> None:
        """Close it; twice is no error."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def fill(held: Held, path: bytes, part: Path) -> bool:
    """Let a part take the place of an empty file, which is then gone: nobody looks for nothing in the bin.

    Programs lock a free name first, which makes an empty file, and write into it then. Returns False, with all as
    it was, when the file there was not empty any more.
    """
    folders.sync(part)
    part.chmod(FILE_MODE)
    name = os.fsencode(part.name)
    with (
        open_parent(held.share.folder, path) as (folder, last),
        bins.opened(part.parent) as parts,
    ):
        moves.exchange(parts, name, folder, last)
        before = os.stat(name, dir_fd=parts, follow_symlinks=False)
        if listing.entry_of(name, before).kind != "file" or before.st_size:
            moves.exchange(parts, name, folder, last)
            return False
        os.unlink(name, dir_fd=parts)
        os.fsync(folder)
    return True
