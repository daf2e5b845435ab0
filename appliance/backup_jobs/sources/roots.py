"""Where a machine's roots are: as a person writes them, as the server wants them, as they are stored."""

import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from appliance.backup_jobs.sftp import SftpClient, SftpRefused
from appliance.backup_jobs.sftp_walk import Found
from appliance.errors import InvalidInput, RootUnreadable
from appliance.language import mark
from appliance.model import System

_DRIVE: Final = re.compile(r"/?([A-Za-z]):(?:[/\\](.*))?", re.DOTALL)


def root_paths(root: str, system: System) -> tuple[bytes, bytes]:
    r"""Return the path the server wants and the path that is stored.

    «C:\Users» and «/C:/Users» on Windows are ``/C:/Users`` and ``C/Users``; «/home» elsewhere is
    ``/home`` and ``home``. The top, «/», is stored as ``b""``.

    Raises:
        InvalidInput: it is not absolute, or goes up with «..».
    """
    if system is System.WINDOWS:
        drive = _DRIVE.fullmatch(root.strip())
        if drive is None:
            raise InvalidInput("root", mark("a whole path, like «C:\\Users»."))
        letter = drive.group(1).upper()
        rest = (drive.group(2) or "").replace("\\", "/")
        remote, stored = f"/{letter}:/{rest}", f"{letter}/{rest}"
    else:
        if not root.startswith("/"):
            raise InvalidInput("root", mark("a whole path, like «/home»."))
        remote = root
        stored = root.lstrip("/")
    parts = [part for part in stored.split("/") if part not in {"", "."}]
    if ".." in parts or "\0" in root:
        raise InvalidInput("root", mark("a path without «..»."))
    clean = "/".join(parts)
    prefix = f"/{parts[0]}:" if system is System.WINDOWS else ""
    below = parts[1:] if system is System.WINDOWS else parts
    remote = prefix + "/" + "/".join(below)
    return _bytes(remote), _bytes(clean)


def remote_path(stored: bytes, system: System) -> bytes:
    """Return the path the server wants for a stored one: what ``root_paths`` did, turned back."""
    if system is System.WINDOWS:
        letter, _slash, rest = stored.partition(b"/")
        return b"/" + letter + b":/" + rest
    return b"/" + stored


def resolved(
    client: SftpClient,
    roots: Sequence[str],
    system: System,
    stored_as: Mapping[str, str] | None = None,
) -> Iterator[Found]:
    """Yield the roots to walk: each readable, none inside another one, links to them followed.

    A root that is a link to a place read under another root is yielded as a link (its ``remote`` is
    empty, its ``long_name`` is the target).

    Args:
        client: the session.
        roots: as a person writes them.
        system: of the machine.
        stored_as: for a root that is read at another place (a shadow copy): the root it stands for.

    Raises:
        RootUnreadable: it is not there, or cannot be opened.
    """
    asked: list[tuple[Found, bytes]] = []
    for root in roots:
        remote, stored = root_paths(root, system)
        if stored_as and root in stored_as:
            stored = root_paths(stored_as[root], system)[1]
        try:
            real = client.real_path(remote)
            attributes = client.stat(remote)
            itself = client.lstat(remote)
            linked = itself.mode is not None and stat.S_ISLNK(itself.mode)
            if attributes.is_folder:
                client.probe_folder(remote)
        except SftpRefused as error:
            raise RootUnreadable(str(error), root) from error
        asked.append((Found(real if linked else remote, stored, attributes, b""), real))
    asked.sort(key=lambda each: (len(each[1]), each[1], len(each[0].stored)))
    taken: list[tuple[bytes, bytes]] = []  # real path, stored path
    for found, real in asked:
        outer = next((each for each in taken if _inside(real, each[0])), None)
        if outer is None:
            taken.append((real, found.stored))
            yield found
        elif not _inside(found.stored, outer[1]):
            link = found.attributes._replace(mode=stat.S_IFLNK | 0o777, size=len(real))
            yield Found(b"", found.stored, link, real)


def _inside(path: bytes, folder: bytes) -> bool:
    whole = folder.rstrip(b"/")
    return path == folder or path.startswith(whole + b"/") or not whole


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
