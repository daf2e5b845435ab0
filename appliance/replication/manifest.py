"""A generation: one complete sealed state of the box at a target. docs/formats/offsite.md, byte by byte.

The object ``generations/0000000017`` is two lines of ASCII and a body:

    armoire generation 1
    {"body_sha256":"…","box":"…","number":17,"previous":"…","signature":"…","taken_at":"…"}
    <age of zstd of JSON>

The signature (Ed25519, base64) is over the second line's JSON without ``signature``, so it covers the body
through its hash, the order through ``number`` and ``previous`` (SHA-256 of the whole object before it),
and the box. A host that withholds, reorders, alters, truncates or forges is noticed.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pyrage
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance.errors import ObjectAltered
from appliance.vault import words
from appliance.vault.secret import Secret

FORMAT: Final = 1
MAGIC: Final = b"armoire generation 1\n"
NONE: Final = "0" * 64
#: A manifest larger than this when opened is a bomb, not a practice: 10 TB in 8 MiB segments is 400 MB.
LARGEST_BYTES: Final = 1 << 30
_HEADER_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """One file of a repository and the object that holds it, sealed."""

    repository: int  # source id
    path: str  # below the repository: «data/0/17», «config», «index.99»
    object: str
    plain_size: int
    plain_sha256: str
    sealed_size: int
    sealed_sha256: str


@dataclass(frozen=True, slots=True)
class CopiedRepository:
    """What a repository is, so that it can be put back."""

    source_id: int
    borg_id: str
    name: str
    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the box consists of at one moment."""

    box_id: str
    number: int  # 1, 2, 3 …
    taken_at: datetime  # aware UTC
    previous: str  # SHA-256 of the generation before, NONE for the first
    program: str  # «armoire 0.1.0»
    repositories: tuple[CopiedRepository, ...]
    files: tuple[CopiedFile, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a generation without any key but the public one."""

    box_id: str
    number: int
    taken_at: datetime
    previous: str
    body_sha256: str


def object_name(number: int) -> str:
    """Return the name of a generation's object; names sort as numbers do."""
    return f"generations/{number:010d}"


def build(
    manifest: Manifest,
    *,
    recipient: str,
    signing_key: Ed25519PrivateKey,
    files: Callable[[], Iterable[CopiedFile]] | None = None,
) -> bytes:
    """Return the generation's object: sealed to ``recipient`` (``age1…``) and signed.

    Args:
        manifest: what it says.
        recipient: of the recovery sheets.
        signing_key: of the box.
        files: yields its files, the same at every call, in place of ``manifest.files``: there are tens of
            thousands, and all at once they would fill the memory.
    """

    def parts() -> Iterator[bytes]:
        return _body(manifest, manifest.files if files is None else files())

    compressor = zstandard.ZstdCompressor(level=6, write_content_size=True).compressobj(
        size=sum(map(len, parts()))
    )
    packed = b"".join([*map(compressor.compress, parts()), compressor.flush()])
    body = bytes(pyrage.encrypt(packed, [pyrage.x25519.Recipient.from_str(recipient)]))
    header = {
        "box": manifest.box_id,
        "number": manifest.number,
        "taken_at": _text(manifest.taken_at),
        "previous": manifest.previous,
        "body_sha256": hashlib.sha256(body).hexdigest(),
    }
    signature = base64.b64encode(signing_key.sign(_canonical(header))).decode("ascii")
    return MAGIC + _canonical({**header, "signature": signature}) + b"\n" + body


def _body(manifest: Manifest, files: Iterable[CopiedFile]) -> Iterator[bytes]:
    """Yield the JSON of a manifest, file after file: as one tree it would take ten times the room."""
    rest = orjson.dumps(
        {
            "format": FORMAT,
            "box": manifest.box_id,
            "number": manifest.number,
            "taken_at": _text(manifest.taken_at),
            "previous": manifest.previous,
            "program": manifest.program,
            "repositories": [asdict(each) for each in manifest.repositories],
        },
        option=orjson.OPT_SORT_KEYS,
    )
    yield rest[:-1] + b',"files":['
    comma = b""
    for file in files:
        yield comma + orjson.dumps(_plain(file), option=orjson.OPT_SORT_KEYS)
        comma = b","
    yield b"]}"


def _plain(file: CopiedFile) -> dict[str, object]:
    """Return a file's values; ``asdict`` takes twenty times as long, and there are tens of thousands."""
    return {
        "repository": file.repository,
        "path": file.path,
        "object": file.object,
        "plain_size": file.plain_size,
        "plain_sha256": file.plain_sha256,
        "sealed_size": file.sealed_size,
        "sealed_sha256": file.sealed_sha256,
    }


def check(name: str, data: bytes, *, signer: Ed25519PublicKey, box_id: str) -> Header:
    """Return the header of a generation's object once its signature and its body's hash are right.

    Raises:
        ObjectAltered: it is not a generation of this box as this box signed it; the reason says what.
    """
    header, body = _parts(name, data)
    signature = header.pop("signature", "")
    try:
        signer.verify(base64.b64decode(str(signature), validate=True), _canonical(header))
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise ObjectAltered("", name, "its signature is not of this box") from error
    found = _header(name, header)
    if found.box_id != box_id:
        raise ObjectAltered("", name, "it is of another box")
    if object_name(found.number) != name:
        raise ObjectAltered("", name, f"it is generation {found.number} under another name")
    if hashlib.sha256(body).hexdigest() != found.body_sha256:
        raise ObjectAltered("", name, "its content is not what was signed")
    return found


def open_manifest(name: str, data: bytes, *, identity: Secret, header: Header) -> Manifest:
    """Return the manifest of an object that ``check`` accepted.

    Raises:
        ObjectAltered: it does not open with this identity, or contradicts its header.
    """
    _, body = _parts(name, data)
    try:
        opened_by = words.openers(identity)
        packed = bytes(pyrage.decrypt(body, opened_by))
        size = zstandard.frame_content_size(packed)
        if not 0 <= size <= LARGEST_BYTES:
            raise ObjectAltered("", name, "its size is not possible")
        values = json.loads(zstandard.ZstdDecompressor().decompress(packed))
        manifest = Manifest(
            box_id=values["box"],
            number=values["number"],
            taken_at=datetime.fromisoformat(values["taken_at"]),
            previous=values["previous"],
            program=values["program"],
            repositories=tuple(CopiedRepository(**each) for each in values["repositories"]),
            files=tuple(CopiedFile(**each) for each in values["files"]),
        )
        known = values["format"] == FORMAT
    except (pyrage.DecryptError, zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise ObjectAltered("", name, "it does not open") from error
    if not known:
        raise ObjectAltered("", name, "it is of a later format")
    if (manifest.box_id, manifest.number, manifest.previous) != (
        header.box_id,
        header.number,
        header.previous,
    ):
        raise ObjectAltered("", name, "it contradicts what was signed")
    return manifest


@dataclass(frozen=True, slots=True)
class ChainFault:
    """Something a host did to the row of generations."""

    number: int
    reason: str  # missing · not-following · altered


def check_chain(
    found: Mapping[int, tuple[Header, str]], *, kept: Sequence[int]
) -> list[ChainFault]:
    """Return what is wrong with the generations a target lists.

    Args:
        found: number → header (already checked) and SHA-256 of the whole object.
        kept: the numbers that must be there by our own record.
    """
    faults = [ChainFault(number, "missing") for number in sorted(set(kept) - set(found))]
    for number in sorted(found):
        header, _ = found[number]
        before = found.get(number - 1)
        if before is not None and header.previous != before[1]:
            faults.append(ChainFault(number, "not-following"))
        if number == 1 and header.previous != NONE:
            faults.append(ChainFault(number, "not-following"))
    return faults


def _parts(name: str, data: bytes) -> tuple[dict[str, Any], bytes]:
    if not data.startswith(MAGIC):
        raise ObjectAltered("", name, "it is not a generation")
    end = data.find(b"\n", len(MAGIC), len(MAGIC) + _HEADER_BYTES)
    if end < 0:
        raise ObjectAltered("", name, "it is cut short")
    try:
        header = json.loads(data[len(MAGIC) : end])
    except ValueError as error:
        raise ObjectAltered("", name, "its header cannot be read") from error
    if not isinstance(header, dict):
        raise ObjectAltered("", name, "its header cannot be read")
    return header, data[end + 1 :]


def _header(name: str, values: dict[str, Any]) -> Header:
    try:
        return Header(
            box_id=str(values["box"]),
            number=int(values["number"]),
            taken_at=datetime.fromisoformat(values["taken_at"]),
            previous=str(values["previous"]),
            body_sha256=str(values["body_sha256"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ObjectAltered("", name, "its header cannot be read") from error


def _canonical(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
