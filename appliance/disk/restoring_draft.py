"""The draft in which a folder comes back: one folder among the parts of its share, of one restore alone.

It is opened step by step without following a link, and locked for as long as somebody is at work on it.
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from appliance.db.shares import Share
from appliance.disk import bin as bins
from appliance.disk.paths import open_file, open_folder, open_own
from appliance.errors import FileMissing, InvalidInput, NotAFile, NotAFolder, RestoreBusy
from appliance.language import mark

#: In a draft: what comes back, the file that is being written, and the note which folder was given away.
TREE: Final = b"tree"
FILE: Final = b"file"
GIVEN: Final = b"given"
_PARTS: Final = bins.PARTS.encode()
_DRAFT: Final = re.compile(r"[0-9a-f]{32}")


def is_draft(draft: str) -> bool:
    """Return whether this can be the name of a draft."""
    return _DRAFT.fullmatch(draft) is not None


def check_draft(draft: str) -> bytes:
    """Return the name of a draft.

    Raises:
        InvalidInput: it is not 32 hexadecimal digits. A draft is made and removed, whatever else has that name.
    """
    if not is_draft(draft):
        raise InvalidInput("draft", mark("A draft has 32 hexadecimal digits."))
    return draft.encode()


def forget(share: Share, draft: str) -> bool:
    """Remove a draft that nobody goes on with; return whether anything was removed.

    One that was given away keeps its note until the bins are tidied, and one that somebody is at work on stays.
    Nothing is removed through a link: a link that has the draft's name goes itself.

    Raises:
        InvalidInput: as ``check_draft``.
        NotAFolder: a link leads to where drafts are.
        OSError: the disk does not let it.
    """
    name = check_draft(draft)
    with suppress(FileMissing), open_own(share.folder, _PARTS) as parts:
        try:
            with open_folder(parts, name) as place:
                if not _hold(place) or given(place) is not None:
                    return False
                # The note first: what is left of a removal that was cut must not look as if it had been given away.
                with suppress(FileNotFoundError, IsADirectoryError):
                    os.unlink(GIVEN, dir_fd=place)
                shutil.rmtree(os.fsdecode(name), dir_fd=parts)
        except NotAFolder:
            os.unlink(name, dir_fd=parts)
        return True
    return False


@contextmanager
def alone(share: Share, draft: str) -> Iterator[int]:
    """Open a draft, made when it is not there; nobody else opens it so until the end, or that of this process.

    Raises:
        InvalidInput: as ``check_draft``.
        NotAFolder: a link or a file is in the way.
        RestoreBusy: another process has it.
    """
    name = check_draft(draft)
    bins.own_folder(share, bins.PARTS)
    with open_own(share.folder, _PARTS) as parts:
        with suppress(FileExistsError):
            bins.make_folder(parts, name)
        with open_folder(parts, name) as place:
            if not _hold(place) or not is_at(place, parts, name):
                raise RestoreBusy
            yield place


def _hold(place: int) -> bool:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(opened: int, folder: int, name: bytes) -> bool:
    """Return whether what was opened is what has this name."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(opened), found)


@contextmanager
def tree(place: int) -> Iterator[int]:
    """Open the tree of an opened draft, made when it is not there.

    Raises:
        NotAFolder: a link or a file has its name.
    """
    with suppress(FileExistsError):
        bins.make_folder(place, TREE)
    with open_folder(place, TREE) as tree:
        yield tree


def given(place: int) -> int | None:
    """Return the inode of the folder that a draft gave away; None: it has not."""
    with suppress(FileNotFoundError):
        os.stat(TREE, dir_fd=place, follow_symlinks=False)
        return None
    try:
        with os.fdopen(open_file(place, GIVEN), "rb") as file:
            inode = json.loads(file.read())
    except (FileMissing, NotAFile, ValueError):
        return None
    return inode if isinstance(inode, int) else None
