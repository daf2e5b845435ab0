"""Sealing a file for a target: age to the recovery recipient, streamed, hashed on both sides.

The box can seal and cannot open: the identity is on the recovery sheets. `age -d -i KEY` opens an object.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from appliance.replication.age_format import CHUNK_BYTES, SEALED_CHUNK_BYTES, AgeStream
from appliance.replication.target import SealedFile

#: Read, hashed, sealed and written so much at a time: fewer turns of the interpreter, which the senders want too.
_CHUNKS: Final = 4


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file as it was and as it leaves."""

    plain_size: int
    plain_sha256: str  # 64 hex digits
    file: SealedFile


def seal_file(source: Path, spool: Path, *, recipient: str) -> Sealed:
    """Seal ``source`` into the new file ``spool``, whole or not at all; memory does not grow with its size.

    Args:
        source: a committed file that does not change any more.
        spool: must not exist yet; 0600.
        recipient: ``age1…``.

    Raises:
        OSError: the disk's own reasons; ``spool`` is then not there.
        ValueError: ``recipient`` is none.
    """
    draft = spool.with_name(spool.name + ".new")
    stream = AgeStream(recipient)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with (
            os.fdopen(descriptor, "wb", buffering=0) as out,
            source.open("rb", buffering=0) as plain,
        ):
            sizes, hashes = _seal(plain, out, stream)
        # Not synced: whoever finds it after a power cut compares its hash with the record first.
        draft.rename(spool)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return Sealed(sizes[0], hashes[0], SealedFile(spool, sizes[1], hashes[1]))


def _seal(
    plain: BinaryIO, out: BinaryIO, stream: AgeStream
) -> tuple[tuple[int, int], tuple[str, str]]:
    """Seal a file into another; return sizes and hashes, as it was and as it leaves.

    Every step is one call that lets other threads run meanwhile.
    """
    was, leaves = hashlib.sha256(), hashlib.sha256(stream.head)
    was_size, leaves_size = 0, len(stream.head)
    _write(out, memoryview(stream.head))
    this, ahead = (memoryview(bytearray(_CHUNKS * CHUNK_BYTES)) for _ in range(2))
    sealed = memoryview(bytearray(_CHUNKS * SEALED_CHUNK_BYTES))
    size = _fill(plain, this)
    while True:
        # What comes next is read first: the last chunk is sealed as the last.
        next_size = _fill(plain, ahead) if size == len(this) else 0
        block = this[:size]
        was.update(block)
        made = sealed[: stream.seal_into(block, sealed, last=not next_size)]
        leaves.update(made)
        _write(out, made)
        was_size, leaves_size = was_size + size, leaves_size + len(made)
        if not next_size:
            break
        this, ahead, size = ahead, this, next_size
    return (was_size, leaves_size), (was.hexdigest(), leaves.hexdigest())


def _fill(stream: BinaryIO, into: memoryview) -> int:
    """Read until ``into`` is full or the file ends; return how much there was."""
    at = 0
    while at < len(into) and (count := stream.readinto(into[at:])):  # type: ignore[attr-defined]
        at += count
    return at


def _write(stream: BinaryIO, data: memoryview) -> None:
    while data:
        data = data[stream.write(data) :]
