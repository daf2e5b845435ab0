"""Asking the worker for the bytes of a file of a snapshot: the web and the command line hold no key."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Final, Self

from appliance.catalogue.reader_protocol import (
    FAILED,
    LARGEST_BLOCK,
    LARGEST_JSON,
    LENGTH,
    Header,
    KitRequest,
    Malformed,
    Request,
    address,
    parse_error,
    parse_header,
)
from appliance.errors import ArmoireError, WorkerUnreachable
from appliance.model import SnapshotId, SourceId
from appliance.settings import Settings

#: Seconds the worker may take for the next piece; opening a repository takes a fraction of one.
PATIENCE_S: Final = 60.0


class OpenFile:
    """A file of a snapshot, being read. Close it, or read it to its end; a ``with`` closes it."""

    def __init__(self, header: Header, channel: socket.socket) -> None:
        """Use ``open_file``."""
        self.size = header.size  # of the whole file, bytes
        self.mtime_ns = header.mtime_ns
        self.offset = header.offset
        self.length = header.length  # bytes that ``blocks`` gives
        self._channel = channel

    @property
    def blocks(self) -> Iterator[bytes]:
        """The bytes, in blocks of at most 1 MiB; once only.

        Raises:
            RepositoryDamaged, ChunkMissing: the rest cannot be read; what came is not the whole.
            WorkerUnreachable: the worker went away in the middle.
        """
        left = self.length
        try:
            while (block := _next_block(self._channel)) is not None:
                left -= len(block)
                yield block
            if left:
                raise WorkerUnreachable
        finally:
            self.close()

    def close(self) -> None:
        """Stop reading; the worker stops too."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_file(
    settings: Settings,
    source_id: SourceId,
    snapshot_id: SnapshotId,
    path: bytes,
    offset: int = 0,
    length: int | None = None,
) -> OpenFile:
    """Return a file of a snapshot, or a part of it, opened by the worker. Blocks.

    Args:
        settings: say where the socket is.
        source_id: of the snapshot.
        snapshot_id: that shows the file.
        path: as the catalogue holds it.
        offset: first byte wanted, 0 to the size.
        length: bytes wanted at most; None means to the end.

    Raises:
        WorkerUnreachable: no worker answers.
        NotFound: no regular file of that path is in the snapshot.
        SnapshotMissing, CatalogueMissing, CatalogueDamaged: of the lookup.
        InvalidInput: ``offset`` is behind the end.
        RepositoryMissing, RepositoryDamaged, ChunkMissing, SecretMissing …: of the reading.
    """
    request = Request(source_id, snapshot_id, path, offset, length)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.settimeout(PATIENCE_S)
    try:
        try:
            with address(settings.reader_socket) as place:
                channel.connect(place)
            channel.sendall(request.pack())
        except OSError as error:
            raise WorkerUnreachable from error
        header = _header(_frame(channel, LARGEST_JSON))
    except BaseException:
        channel.close()
        raise
    return OpenFile(header, channel)


def _header(body: bytes) -> Header:
    try:
        return parse_header(body)
    except Malformed as error:
        raise WorkerUnreachable from error


def _error(body: bytes) -> ArmoireError:
    try:
        return parse_error(body)
    except Malformed:
        return WorkerUnreachable()


def _next_block(channel: socket.socket) -> bytes | None:
    (size,) = LENGTH.unpack(_exactly(channel, LENGTH.size))
    if size == FAILED:
        raise _error(_frame(channel, LARGEST_JSON))
    if size > LARGEST_BLOCK:
        raise WorkerUnreachable
    return _exactly(channel, size) if size else None


def _frame(channel: socket.socket, largest: int) -> bytes:
    (size,) = LENGTH.unpack(_exactly(channel, LENGTH.size))
    if size > largest:
        raise WorkerUnreachable
    return _exactly(channel, size)


def _exactly(channel: socket.socket, size: int) -> bytes:
    buffer = bytearray(size)
    view = memoryview(buffer)
    got = 0
    while got < size:
        try:
            count = channel.recv_into(view[got:])
        except OSError as error:
            raise WorkerUnreachable from error
        if count == 0:
            raise WorkerUnreachable
        got += count
    return bytes(buffer)


class AsyncOpenFile:
    """As ``OpenFile``, for an event loop."""

    def __init__(
        self, header: Header, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Use ``open_file_async``."""
        self.size = header.size
        self.mtime_ns = header.mtime_ns
        self.offset = header.offset
        self.length = header.length
        self._reader = reader
        self._writer = writer

    @property
    async def blocks(self) -> AsyncIterator[bytes]:
        """The bytes, in blocks of at most 1 MiB; once only. Raises as ``OpenFile.blocks``."""
        left = self.length
        try:
            while (block := await self._next_block()) is not None:
                left -= len(block)
                yield block
            if left:
                raise WorkerUnreachable
        finally:
            self.close()

    async def _next_block(self) -> bytes | None:
        (size,) = LENGTH.unpack(await _exactly_async(self._reader, LENGTH.size))
        if size == FAILED:
            raise _error(await _frame_async(self._reader, LARGEST_JSON))
        if size > LARGEST_BLOCK:
            raise WorkerUnreachable
        return await _exactly_async(self._reader, size) if size else None

    def close(self) -> None:
        """Stop reading; the worker stops too."""
        self._writer.close()


async def open_file_async(
    settings: Settings,
    source_id: SourceId,
    snapshot_id: SnapshotId,
    path: bytes,
    offset: int = 0,
    length: int | None = None,
) -> AsyncOpenFile:
    """As ``open_file``, without blocking the event loop; same arguments, same errors."""
    return await _ask_async(settings, Request(source_id, snapshot_id, path, offset, length).pack())


async def open_kit_document_async(settings: Settings, request: KitRequest) -> AsyncOpenFile:
    """Return a sheet of the kit, as HTML, or the kit file, made by the worker.

    Raises:
        PasswordWrong, TooManyAttempts, AccountBlocked: who asks is not who they say.
        NotAllowed: the kit is an owner's.
        KitConfirmed: the kit was confirmed: the words are not on the box any more.
        NotFound: there is no such sheet.
        WorkerUnreachable: no worker answers.
    """
    return await _ask_async(settings, request.pack())


async def _ask_async(settings: Settings, packed: bytes) -> AsyncOpenFile:
    try:
        with address(settings.reader_socket) as place:
            reader, writer = await asyncio.open_unix_connection(place, limit=LARGEST_BLOCK)
    except OSError as error:
        raise WorkerUnreachable from error
    try:
        writer.write(packed)
        header = _header(await _frame_async(reader, LARGEST_JSON))
    except BaseException:
        writer.close()
        raise
    return AsyncOpenFile(header, reader, writer)


async def _frame_async(reader: asyncio.StreamReader, largest: int) -> bytes:
    (size,) = LENGTH.unpack(await _exactly_async(reader, LENGTH.size))
    if size > largest:
        raise WorkerUnreachable
    return await _exactly_async(reader, size)


async def _exactly_async(reader: asyncio.StreamReader, size: int) -> bytes:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await reader.readexactly(size)
    except (OSError, asyncio.IncompleteReadError) as error:  # TimeoutError is an OSError
        raise WorkerUnreachable from error
