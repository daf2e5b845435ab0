"""Reading a copy: generations found and checked, objects brought back and compared.

Needs the signing key's public half and, to open anything, the identity of the recovery sheets.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.errors import ObjectAltered, ObjectMissing
from appliance.replication import manifest as manifests
from appliance.replication.manifest import ChainFault, CopiedFile, Header, Manifest
from appliance.replication.target import Target
from appliance.vault import words
from appliance.vault.secret import Secret

#: A generation's object of 10 TB of copies; more is not one of ours.
LARGEST_GENERATION_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class FoundGeneration:
    """A generation at a target whose signature is right."""

    header: Header
    sha256: str  # of the whole object
    size: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What a target shows, newest first, and what is wrong with it."""

    generations: tuple[FoundGeneration, ...]
    faults: tuple[ChainFault, ...]


def survey(
    target: Target, *, signer: Ed25519PublicKey, box_id: str, kept: Sequence[int] = ()
) -> Survey:
    """Return the generations of this box at a target.

    Args:
        target: where to look.
        signer: the box's signing key, public half: from the kit or the vault.
        box_id: whose generations.
        kept: numbers that must be there by our own record; empty after a fire.

    Raises:
        TargetListUnreadable, TargetUnreachable: nothing is concluded from half a list.
    """
    found: dict[int, tuple[Header, str]] = {}
    sizes: dict[int, int] = {}
    faults: list[ChainFault] = []
    for info in sorted(target.list("generations/"), key=lambda each: each.name):
        number = int(info.name.rpartition("/")[2]) if info.name.rpartition("/")[2].isdigit() else 0
        if info.size > LARGEST_GENERATION_BYTES:
            faults.append(ChainFault(number, "altered"))
            continue
        data = b"".join(target.read(info.name))
        try:
            header = manifests.check(info.name, data, signer=signer, box_id=box_id)
        except ObjectAltered:
            faults.append(ChainFault(number, "altered"))
            continue
        found[header.number] = (header, hashlib.sha256(data).hexdigest())
        sizes[header.number] = len(data)
    named = {fault.number for fault in faults}
    faults += [each for each in manifests.check_chain(found, kept=kept) if each.number not in named]
    newest_first = sorted(found.items(), reverse=True)
    return Survey(
        tuple(
            FoundGeneration(header, digest, sizes[number])
            for number, (header, digest) in newest_first
        ),
        tuple(sorted(faults, key=lambda fault: fault.number)),
    )


def open_generation(
    target: Target, found: FoundGeneration, *, identity: Secret, signer: Ed25519PublicKey
) -> Manifest:
    """Return the manifest of a generation that ``survey`` found.

    Raises:
        ObjectAltered: it changed since, or the words are of another kit.
    """
    name = manifests.object_name(found.header.number)
    data = b"".join(target.read(name))
    header = manifests.check(name, data, signer=signer, box_id=found.header.box_id)
    return manifests.open_manifest(name, data, identity=identity, header=header)


def missing_objects(target: Target, manifest: Manifest) -> list[CopiedFile]:
    """Return the files of a generation whose object the target does not list with its size.

    Raises:
        TargetListUnreadable: nothing is concluded from half a list.
    """
    there = {info.name: info.size for info in target.list("objects/")}
    return [each for each in manifest.files if there.get(each.object) != each.sealed_size]


def verify_sealed(target: Target, name: str, *, sha256: str, size: int) -> None:
    """Read an object back and compare its sealed bytes: needs no key.

    Raises:
        ObjectMissing, ObjectAltered, TargetUnreachable.
    """
    digest, count = hashlib.sha256(), 0
    for block in target.read(name):
        digest.update(block)
        count += len(block)
    if count != size:
        raise ObjectAltered(target.label, name, "it is cut short")
    if digest.hexdigest() != sha256:
        raise ObjectAltered(target.label, name, "its content is not what was sent")


def fetch_file(target: Target, file: CopiedFile, destination: Path, *, identity: Secret) -> None:
    """Bring one file back, whole and compared, or not at all.

    Args:
        target: where it lies.
        file: of an opened manifest.
        destination: its place; an existing file there is replaced in one step.
        identity: opens it.

    Raises:
        ObjectMissing: the target does not have it.
        ObjectAltered: sealed or opened, its bytes are not those that were sent.
    """
    opened_by = words.openers(identity)
    draft = destination.with_name(f".{destination.name}.part")
    destination.parent.mkdir(parents=True, exist_ok=True)
    sealed = _HashedBlocks(target.read(file.object))
    try:
        with draft.open("wb") as raw:
            plain = _HashedWriter(raw)
            try:
                pyrage.decrypt_io(io.BufferedReader(sealed), plain, opened_by)
            except (pyrage.DecryptError, OSError) as error:
                # age reports every failure as one of these two; the streams know the real reason.
                known = sealed.failure or plain.failure
                raise known or ObjectAltered(
                    target.label, file.object, "it does not open"
                ) from error
            sealed.drain()
            raw.flush()
        _compare(target, file, sealed, plain)
        draft.rename(destination)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _compare(
    target: Target, file: CopiedFile, sealed: "_HashedBlocks", plain: "_HashedWriter"
) -> None:
    if (sealed.count, sealed.digest.hexdigest()) != (file.sealed_size, file.sealed_sha256):
        raise ObjectAltered(target.label, file.object, "its content is not what was sent")
    if (plain.count, plain.digest.hexdigest()) != (file.plain_size, file.plain_sha256):
        raise ObjectAltered(target.label, file.object, "its content is not what was sealed")


def fetch_repository(
    target: Target,
    manifest: Manifest,
    source_id: int,
    destination: Path,
    *,
    identity: Secret,
    on_bytes: Callable[[int], None] = lambda _count: None,
) -> int:
    """Bring a whole repository back below ``destination``; files there already and right stay. Return how many came.

    Killed at any line it goes on where it was.

    Raises:
        ObjectMissing, ObjectAltered: of the first file that cannot be had.
    """
    came = 0
    for file in manifest.files:
        if file.repository != source_id:
            continue
        place = destination / file.path
        if not _is_right(place, file):
            fetch_file(target, file, place, identity=identity)
            came += 1
        on_bytes(file.plain_size)
    if came == 0 and not destination.exists():
        raise ObjectMissing(target.label, f"repository {source_id}")
    return came


def _is_right(place: Path, file: CopiedFile) -> bool:
    try:
        if place.stat().st_size != file.plain_size:
            return False
        with place.open("rb") as there:
            return hashlib.file_digest(there, "sha256").hexdigest() == file.plain_sha256
    except FileNotFoundError:
        return False


class _HashedBlocks(io.RawIOBase):
    """The blocks of an object as a stream; remembers what went wrong, which age would swallow."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        super().__init__()
        self._blocks = blocks
        self._rest = b""
        self.digest = hashlib.sha256()
        self.count = 0
        self.failure: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        while not self._rest:
            try:
                self._rest = next(self._blocks)
            except StopIteration:
                return 0
            except Exception as error:
                self.failure = error
                raise OSError("the object could not be read") from error
            self.digest.update(self._rest)
            self.count += len(self._rest)
        size = min(len(view), len(self._rest))
        view[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def drain(self) -> None:
        """Read what is left, so that bytes added at the end are noticed."""
        buffer = bytearray(1 << 16)
        while self.readinto(buffer):
            pass


class _HashedWriter:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.count = 0
        self.failure: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            written = self._stream.write(data)
        except OSError as error:
            self.failure = error
            raise
        self.digest.update(data)
        self.count += len(data)
        return written

    def flush(self) -> None:
        self._stream.flush()
