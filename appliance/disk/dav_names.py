"""What WebDAV shows of a share, and what it calls a file's kind."""

import mimetypes
from functools import lru_cache
from typing import Final

from appliance.disk.listing import Entry

OCTETS: Final = "application/octet-stream"


def is_shown(entry: Entry) -> bool:
    """Return whether a program is shown this: files and folders whose name is text that XML can carry."""
    if entry.kind not in {"file", "folder"}:
        return False
    if entry.name.isascii():
        return entry.name.isalnum() or not any(each < 32 or each == 127 for each in entry.name)
    try:
        text = entry.name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not any(each < " " or each in "\x7f\ufffe\uffff" for each in text)


def media_type(name: bytes) -> str:
    """Return what the ending of a name says."""
    ending = name.rpartition(b"/")[2].rpartition(b".")
    return _of_ending(ending[2].decode("latin-1").lower()) if ending[1] else OCTETS


@lru_cache(maxsize=1024)
def _of_ending(ending: str) -> str:
    return mimetypes.guess_type(f"x.{ending}", strict=False)[0] or OCTETS
