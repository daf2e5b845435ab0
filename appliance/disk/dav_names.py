"""What WebDAV shows of a share, and what it calls a file's kind."""

import mimetypes
import re
from functools import lru_cache
from typing import Final

from appliance.disk.listing import Entry

OCTETS: Final = "application/octet-stream"
#: What XML 1.0 cannot carry (its production «Char»), and «delete».
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")


def is_shown(entry: Entry) -> bool:
    """Return whether a program is shown this: files and folders whose name is text that XML can carry."""
    if entry.kind not in {"file", "folder"}:
        return False
    try:
        return _UNSEEN.search(entry.name.decode("utf-8")) is None
    except UnicodeDecodeError:
        return False


def media_type(name: bytes) -> str:
    """Return what the ending of a name says."""
    ending = name.rpartition(b"/")[2].rpartition(b".")
    return _of_ending(ending[2].decode("latin-1").lower()) if ending[1] else OCTETS


@lru_cache(maxsize=1024)
def _of_ending(ending: str) -> str:
    return mimetypes.guess_type(f"x.{ending}", strict=False)[0] or OCTETS
