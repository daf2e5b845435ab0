"""Sealing a file for a target: age to the recovery recipient, streamed, hashed on both sides.

The box can seal and cannot open: the identity is on the recovery sheets. `age -d -i KEY` opens an object.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import pyrage

from appliance.replication.target import SealedFile

#: Read, hashed and written so much at a time: fewer turns of the interpreter, which the senders want too.
_BLOCK_BYTES: Final = 512 * 1024


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file as it was and as it leaves."""

    plain_size: int
    plain_sha256: str  # 64 hex digits
    file: SealedFile


class _Reading:
    """A file that is hashed and counted, a block at a time, however little is asked for."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._left = memoryview(b"")
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            block = self._stream.read(_BLOCK_BYTES)
            self._digest.update(block)
            self.size += len(block)
            self._left = memoryview(block)
        end = len(self._left) if size < 0 else size
        data, self._left = self._left[:end], self._left[end:]
        return bytes(data)


class _Writing:
    """A file that is hashed and counted on its way."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self.size += len(data)
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()


def seal_file(source: Path, spool: Path, *, recipient: str) -> Sealed:
    """Seal ``source`` into the new file ``spool``, whole or not at all; memory does not grow with its size.

    Args:
        source: a committed file that does not change any more.
        spool: must not exist yet; 0600.
        recipient: ``age1…``.

    Raises:
        OSError: the disk's own reasons; ``spool`` is then not there.
    """
    draft = spool.with_name(spool.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with (
            os.fdopen(descriptor, "wb", buffering=_BLOCK_BYTES) as raw,
            source.open("rb", buffering=0) as plain,
        ):
            reading, writing = _Reading(plain), _Writing(raw)
            pyrage.encrypt_io(reading, writing, [pyrage.x25519.Recipient.from_str(recipient)])
        # Not synced: whoever finds it after a power cut compares its hash with the record first.
        draft.rename(spool)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return Sealed(reading.size, reading.sha256, SealedFile(spool, writing.size, writing.sha256))
