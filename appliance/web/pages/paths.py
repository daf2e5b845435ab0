"""Paths of backed-up files on a page: read as text, carried in addresses without being readable in a log."""

from dataclasses import dataclass

from appliance.model import Source, System
from appliance.packed import pack_path, unpack_path


@dataclass(frozen=True, slots=True)
class Crumb:
    """One folder of the way to where one is."""

    text: str
    packed: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way to where a file lies."""

    text: str
    href: str


def readable(path: bytes) -> str:
    """Return a path or a name as people read it; a byte that is not UTF-8 shows as «�»."""
    return path.decode("utf-8", "replace")


def shown(path: bytes, source: Source | None) -> str:
    r"""Return a whole path as its machine names it: ``/home/a`` or ``C:\Users\a``."""
    text = readable(path)
    if source is not None and source.system is System.WINDOWS:
        drive, _, rest = text.partition("/")
        if len(drive) == 1:
            return f"{drive}:\\" + rest.replace("/", "\\")
    return "/" + text


def crumbs(path: bytes) -> list[Crumb]:
    """Return every folder from the top to ``path``, itself included."""
    found: list[Crumb] = []
    parts = path.split(b"/") if path else []
    for place, part in enumerate(parts):
        found.append(Crumb(readable(part), pack_path(b"/".join(parts[: place + 1]))))
    return found


def unpacked(packed: str) -> bytes:
    """Return the path of an address, tidied: never a leading slash, ``.`` or ``..``.

    Raises:
        InvalidInput: it is not a packed path.
    """
    parts = unpack_path(packed).split(b"/")
    return b"/".join(part for part in parts if part not in {b"", b".", b".."})
