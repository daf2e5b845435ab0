"""Reading chunks of a repository while others write to it: no lock, no replay, nothing written.

Part of the ``borg_library`` family. Borg's own way of opening «without lock» replays segments in
the moment of another's commit, which writes. This one takes the index of the last committed
transaction as it lies on the disk; what a running compaction has moved since is followed in memory,
through the commits in the newer segments. Source: borg 1.4.5 repository.py, commit, compact_segments.
"""

import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import Struct
from types import SimpleNamespace
from typing import Any, Final

from borg.constants import MAX_OBJECT_SIZE  # noqa: TID251 - the borg_library family
from borg.crypto.file_integrity import FileIntegrityError, IntegrityCheckedFile  # noqa: TID251
from borg.crypto.low_level import IntegrityError as LowIntegrityError  # noqa: TID251
from borg.hashindex import NSIndex  # noqa: TID251
from borg.helpers import Manifest, msgpack  # noqa: TID251

from appliance.backup_jobs.borg_library_opening import (
    borg_environment,
    check_identity,
    mapped,
    unlock,
)
from appliance.errors import ChunkMissing, RepositoryDamaged, RepositoryMissing
from appliance.vault.secret import Secret

_HEADER: Final = Struct("<IIB")
_PUT_HEADER: Final = Struct("<IIB32s")
_MAGIC: Final = b"BORG_SEG"
_PUT, _DELETE, _COMMIT = 0, 1, 2
_OPEN_FILES: Final = 64
_TRIES: Final = 5


class Reader:
    """Chunks of one repository, by id; safe for several threads."""

    def __init__(
        self,
        path: Path,
        identity: str,
        segments_per_dir: int,
        before_read: Callable[[int], None] | None = None,
    ) -> None:
        self._path = path
        self._before_read = before_read
        self._identity = identity
        self._segments_per_dir = segments_per_dir
        self._door = threading.Lock()
        self._files: OrderedDict[int, int] = OrderedDict()  # segment → descriptor, oldest use first
        self._index: Any = None
        self._transaction = -1
        self._moved: dict[bytes, tuple[int, int]] = {}
        self._key: Any = None
        self._closed = False

    def fetch(self, ids: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the plaintext of each chunk, in order, each verified against its id.

        Raises:
            ChunkMissing: the chunk is in no committed state: look the file up again.
            RepositoryDamaged: its bytes were altered.
            RepositoryMissing: the repository's disk went away.
        """
        for identity in ids:
            stored = self._stored(identity)
            with mapped(self._path), self._door:
                plain = self._key.decrypt(identity, stored)
            yield bytes(plain)

    def close(self) -> None:
        """Give the open files back."""
        with self._door:
            self._closed = True
            self._drop_files()

    # --- below: everything under the door ---

    def _stored(self, identity: bytes) -> bytes:
        with self._door:
            if self._closed:
                raise ValueError("the reader is closed")
            for fresh in (False, True):
                if fresh:
                    self._catch_up()
                for place in (self._moved.get(identity), self._index.get(identity)):
                    if place is not None:
                        data = self._read(place[0], place[1], identity)
                        if data is not None:
                            return data
            if not (self._path / "data").is_dir():
                raise RepositoryMissing(str(self._path))
            place = self._moved.get(identity) or self._index.get(identity)
            if place is not None and self._segment_file(place[0]).exists():
                raise RepositoryDamaged(str(self._path), "stored bytes were altered")
            raise ChunkMissing(str(self._path), identity.hex())

    def _read(self, segment: int, offset: int, identity: bytes) -> bytes | None:
        """Return the stored bytes, or None when this place does not hold this chunk (any more)."""
        for cached in (True, False):
            if not cached:
                self._drop_file(segment)  # the number may belong to another file by now
            descriptor = self._descriptor(segment)
            if descriptor is None:
                return None
            header = os.pread(descriptor, _PUT_HEADER.size, offset)
            if len(header) == _PUT_HEADER.size:
                checksum, size, tag, found = _PUT_HEADER.unpack(header)
                if (
                    tag == _PUT
                    and found == identity
                    and _PUT_HEADER.size <= size <= MAX_OBJECT_SIZE
                ):
                    wanted = size - _PUT_HEADER.size
                    data = os.pread(descriptor, wanted, offset + _PUT_HEADER.size)
                    if len(data) == wanted and zlib.crc32(data, zlib.crc32(header[4:])) == checksum:
                        return data
        return None

    def load(self) -> None:
        """Take the newest committed index that lies on the disk.

        Raises:
            RepositoryMissing: no index and no data lie there.
            RepositoryDamaged: the index does not match its checksum.
        """
        failure: Exception | None = None
        for _ in range(_TRIES):
            try:
                numbers = [
                    int(name[6:])
                    for name in os.listdir(self._path)  # noqa: PTH208 - names are all we need
                    if name.startswith("index.") and name[6:].isdigit()
                ]
            except OSError as error:
                raise RepositoryMissing(str(self._path)) from error
            if not numbers:
                break
            newest = max(numbers)
            try:
                self._index = self._read_index(newest)
            except (OSError, ValueError, FileIntegrityError) as error:
                failure = error  # replaced while we read it: look again
                continue
            self._transaction = newest
            self._moved = {}
            return
        raise RepositoryDamaged(str(self._path), "its index cannot be read") from failure

    def _read_index(self, number: int) -> Any:  # noqa: ANN401 - Borg's own class
        integrity = None
        checksums = self._path / f"integrity.{number}"
        with suppress(FileNotFoundError), checksums.open("rb") as file:
            integrity = msgpack.unpack(file)[b"index"].decode()
        place = str(self._path / f"index.{number}")
        with IntegrityCheckedFile(place, write=False, integrity_data=integrity) as file:
            return NSIndex.read(file)

    def _catch_up(self) -> None:
        """Follow what was committed after the index on the disk was written, in memory only."""
        self._drop_files()
        before = self._transaction
        self.load()
        if self._transaction == before:
            self._follow_newer_segments()

    def _follow_newer_segments(self) -> None:
        waiting: dict[bytes, tuple[int, int]] = {}
        for segment in self._newer_segments():
            for tag, identity, offset in self._walk(segment):
                if tag == _PUT:
                    waiting[identity] = (segment, offset)
                elif tag == _COMMIT:
                    self._moved.update(waiting)
                    waiting = {}

    def _newer_segments(self) -> list[int]:
        found = []
        data = self._path / "data"
        first = self._transaction // self._segments_per_dir
        with suppress(OSError):
            for folder in data.iterdir():
                if folder.name.isdigit() and int(folder.name) >= first:
                    with suppress(OSError):
                        found += [
                            int(each.name) for each in folder.iterdir() if each.name.isdigit()
                        ]
        return sorted(number for number in found if number > self._transaction)

    def _walk(self, segment: int) -> Iterator[tuple[int, bytes, int]]:
        descriptor = self._descriptor(segment)
        if descriptor is None or os.pread(descriptor, len(_MAGIC), 0) != _MAGIC:
            return
        offset = len(_MAGIC)
        while True:
            header = os.pread(descriptor, _PUT_HEADER.size, offset)
            if len(header) < _HEADER.size:
                return
            _checksum, size, tag = _HEADER.unpack_from(header)
            if tag == _COMMIT and size == _HEADER.size:
                yield tag, b"", offset
            elif tag in {_PUT, _DELETE} and _PUT_HEADER.size <= size <= MAX_OBJECT_SIZE:
                yield tag, header[_HEADER.size :], offset
            else:
                return  # being written at this moment, or altered: nothing after it is believed
            offset += size

    def _segment_file(self, segment: int) -> Path:
        return self._path / "data" / str(segment // self._segments_per_dir) / str(segment)

    def _descriptor(self, segment: int) -> int | None:
        known = self._files.get(segment)
        if known is not None:
            self._files.move_to_end(segment)
            return known
        if self._before_read is not None:
            self._before_read(segment)
        try:
            descriptor = os.open(self._segment_file(segment), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        self._files[segment] = descriptor
        if len(self._files) > _OPEN_FILES:
            os.close(self._files.popitem(last=False)[1])
        return descriptor

    def _drop_file(self, segment: int) -> None:
        descriptor = self._files.pop(segment, None)
        if descriptor is not None:
            os.close(descriptor)

    def _drop_files(self) -> None:
        for segment in list(self._files):
            self._drop_file(segment)

    def unlock(self, config: Any, passphrase: Secret) -> None:  # noqa: ANN401 - a ConfigParser
        """Open the key with ``passphrase``; reads only."""
        manifest = self._stored_manifest()
        # What Borg's key classes ask of a repository, and nothing that could write.
        stand_in = SimpleNamespace(
            id=bytes.fromhex(self._identity),
            id_str=self._identity,
            load_key=lambda: config.get("repository", "key", fallback="").strip().encode(),
            _location=SimpleNamespace(canonical_path=lambda: str(self._path)),
        )
        key = unlock(stand_in, self._path, passphrase, manifest)
        # As init_ciphers does, without the nonce manager: nothing is ever encrypted here.
        key.cipher = key.CIPHERSUITE(
            mac_key=key.enc_hmac_key, enc_key=key.enc_key, header_len=1, aad_offset=1
        )
        try:
            key.decrypt(None, manifest)
        except LowIntegrityError as error:
            raise RepositoryDamaged(str(self._path), "stored bytes were altered") from error
        self._key = key

    def _stored_manifest(self) -> bytes:
        try:
            return self._stored(Manifest.MANIFEST_ID)
        except ChunkMissing as error:
            raise RepositoryDamaged(str(self._path), "its list of archives is missing") from error


@contextmanager
def open_reader(
    path: Path,
    passphrase: Secret,
    home: Path,
    expected_id: str | None = None,
    *,
    before_read: Callable[[int], None] | None = None,
) -> Iterator[Reader]:
    """Yield a reader of chunks that holds no lock and never writes; open once, keep it for long.

    Args:
        path: the repository.
        passphrase: opens its key; not kept.
        home: Borg's home on this box.
        expected_id: 64 hex digits that must be found there.
        before_read: called with a segment's number before its file is opened, one at a time: brings the
            segment there when the repository is being read from a copy. What it raises reaches the caller.

    Raises:
        RepositoryMissing: nothing lies there (an empty mount point is no empty repository).
        RepositoryReplaced: another id lies there.
        WrongPassphrase, RepositoryDamaged.
    """
    path = path.absolute()
    config = check_identity(path, expected_id)
    try:
        per_dir = config.getint("repository", "segments_per_dir")
    except ValueError as error:
        raise RepositoryDamaged(str(path), "its settings cannot be read") from error
    reader = Reader(path, config.get("repository", "id"), per_dir, before_read)
    try:
        with mapped(path), borg_environment(home):
            reader.load()
            reader.unlock(config, passphrase)
        yield reader
    finally:
        reader.close()
