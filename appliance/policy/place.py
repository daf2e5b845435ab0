"""Where a target lies, by kind: the JSON of ``TargetRow.place``, read strictly. No secret is in it.

Secrets of the vault: ``target:<id>:key`` (OpenSSH private key), ``target:<id>:password``,
``target:<id>:s3`` (JSON ``{"access_key": …, "secret_key": …}``).
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from appliance.errors import InvalidInput
from appliance.language import mark


@dataclass(frozen=True, slots=True)
class DirectoryPlace:
    """A folder of a disk or a mount that carries our label."""

    disk_id: str  # 32 hex digits, on the label
    folder: str = ""  # where it is mounted; "": wherever a disk with this label appears
    is_removable: bool = False  # taken away between two copies
    expires_on: str = ""  # ISO date after which the disk is not trusted; "": never


@dataclass(frozen=True, slots=True)
class SftpPlace:
    """A folder of an SFTP account."""

    host: str
    user: str
    port: int = 22
    folder: str = ""  # "": where the account begins
    host_key: str = ""  # «ssh-ed25519 AAAA…»; "": a person did not confirm it yet
    connections: int = 4


@dataclass(frozen=True, slots=True)
class BoxPlace:
    """Another Armoire that receives."""

    host: str
    sender: str  # the name it gave this box
    port: int = 2222
    host_key: str = ""
    connections: int = 4


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket, or a folder of one."""

    endpoint: str  # https://…
    region: str
    bucket: str
    prefix: str = ""
    lock_mode: str = ""  # "" · COMPLIANCE · GOVERNANCE
    lock_days: int = 0  # how long a new object is locked
    connections: int = 4
    country: str = (
        ""  # of a region we do not know, as a person declared it (ISO 3166-1); "": by our list
    )


Place = DirectoryPlace | SftpPlace | BoxPlace | S3Place
KINDS: Final[dict[str, type[Place]]] = {
    "directory": DirectoryPlace,
    "sftp": SftpPlace,
    "box": BoxPlace,
    "s3": S3Place,
}
LOCK_MODES: Final = frozenset({"", "COMPLIANCE", "GOVERNANCE"})
MOST_CONNECTIONS: Final = 16


def parse(kind: str, values: Mapping[str, Any]) -> Place:
    """Return the place that ``values`` describe.

    Raises:
        InvalidInput: the kind is unknown, a field is missing, unknown, of another type or out of its range.
    """
    made = KINDS.get(kind)
    if made is None:
        raise InvalidInput("kind", mark("directory, sftp, box or s3."))
    try:
        place = made(**values)
    except TypeError as error:
        raise InvalidInput("place", mark("every field of this kind of destination.")) from error
    for name, usual in asdict(place).items():
        wanted = made.__dataclass_fields__[name].type
        if type(usual).__name__ != getattr(wanted, "__name__", wanted):
            raise InvalidInput(name, mark("a value of the right type."))
    _check(place)
    return place


def to_stored(place: Place) -> dict[str, Any]:
    """Return the JSON of ``TargetRow.place``."""
    return asdict(place)


def _check(place: Place) -> None:
    if isinstance(place, DirectoryPlace):
        if len(place.disk_id) != 32 or not set(place.disk_id) <= set("0123456789abcdef"):
            raise InvalidInput("disk_id", mark("the number on the disk's label."))
        return
    if not 1 <= place.connections <= MOST_CONNECTIONS:
        raise InvalidInput("connections", mark("a number from 1 to 16."))
    if isinstance(place, S3Place):
        if not place.endpoint.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise InvalidInput("endpoint", mark("an address that begins with https://."))
        if not place.bucket:
            raise InvalidInput("bucket", mark("the name of the bucket."))
        if place.country and not (len(place.country) == 2 and place.country.isupper()):
            raise InvalidInput("country", mark("a country's two letters, as FR."))
        if place.lock_mode not in LOCK_MODES or place.lock_days < 0:
            raise InvalidInput("lock_mode", mark("COMPLIANCE, GOVERNANCE or nothing."))
        if bool(place.lock_mode) != bool(place.lock_days):
            raise InvalidInput("lock_days", mark("for how many days new objects are locked."))
        return
    if not place.host or any(each.isspace() for each in place.host):
        raise InvalidInput("host", mark("the name or address of the host."))
    if not 1 <= place.port <= 65535:
        raise InvalidInput("port", mark("a number from 1 to 65535."))
    if not (place.user if isinstance(place, SftpPlace) else place.sender):
        raise InvalidInput("user", mark("the name of the account."))


def fingerprint(host_key: str) -> str:
    """Return «SHA256:…» of a public key line, as ``ssh-keygen -l`` shows it.

    Raises:
        InvalidInput: it is no line «ssh-ed25519 AAAA…».
    """
    parts = host_key.split()
    try:
        blob = base64.b64decode(parts[1], validate=True)
        size = int.from_bytes(blob[:4], "big")
        if blob[4 : 4 + size].decode("ascii") != parts[0]:
            raise IndexError  # noqa: TRY301 - one road for all that is no key
    except (IndexError, ValueError, binascii.Error, UnicodeDecodeError) as error:
        raise InvalidInput("host_key", mark("a line «ssh-ed25519 AAAA…».")) from error
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")
    return f"SHA256:{digest}"


def is_same_spot(before: Place, after: Place) -> bool:
    """Say whether both name the same host, account and folder; lines, locks and keys aside."""
    return _spot(before) == _spot(after)


def where(place: Place) -> str:
    """Return where a place is, in a few characters for a list; no secret is in it."""
    match place:
        case DirectoryPlace():
            return place.folder or f"disk {place.disk_id[:8]}"
        case SftpPlace():
            port = "" if place.port == 22 else f":{place.port}"
            return f"{place.user}@{place.host}{port}/{place.folder.lstrip('./')}".rstrip("/")
        case BoxPlace():
            return f"{place.sender}@{place.host}:{place.port}"
        case S3Place():
            return f"{place.endpoint}/{place.bucket}/{place.prefix}".rstrip("/")


def _spot(place: Place) -> tuple[object, ...]:
    match place:
        case DirectoryPlace():
            return ("directory", place.disk_id)
        case SftpPlace():
            return ("sftp", place.host, place.port, place.user, place.folder)
        case BoxPlace():
            return ("box", place.host, place.port, place.sender)
        case S3Place():
            return ("s3", place.endpoint, place.bucket, place.prefix)
