"""The text of a file, for the search: made by the sandboxed process of the previews, never here."""

import os
from typing import Final

from appliance.db.shares import Share
from appliance.disk import paths
from appliance.disk.index_file import Row
from appliance.disk.index_kinds import DICOM, ending
from appliance.disk.preview import client
from appliance.disk.preview.protocol import Do, Wanted
from appliance.errors import ArmoireError, NotPreviewed, WorkerUnreachable
from appliance.settings import Settings

#: Letters of one file that are searched: some 80 pages.
LETTERS: Final = 256 * 1024


class Changed(Exception):
    """The file is another one than the index says, or went."""


def text_of(settings: Settings, share: Share, path: bytes, row: Row) -> str | None:
    """Return the text of a file as the index knows it; None when it has none that can be read.

    Raises:
        Changed: it is not that file any more.
        WorkerUnreachable: nobody makes previews now.
    """
    try:
        descriptor = paths.open_file(share.folder, path)
    except (ArmoireError, OSError) as error:
        raise Changed from error
    try:
        facts = os.fstat(descriptor)
        if (facts.st_ino, facts.st_size, facts.st_mtime_ns) != (row.inode, row.size, row.mtime_ns):
            raise Changed
        end = ending(row.name)
        do = Do.FIELDS if end in DICOM else Do.TEXT
        try:
            found = client.ask(settings, Wanted(do, end, letters=LETTERS), [descriptor]).values()
        except WorkerUnreachable:
            raise
        except (NotPreviewed, ValueError):
            return None
    finally:
        os.close(descriptor)
    if do is Do.TEXT:
        return str(found.get("text", ""))[:LETTERS]
    return "\n".join(str(each["value"]) for each in found)[:LETTERS]
