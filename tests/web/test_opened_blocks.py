"""A large file goes out as it is, without a thread while it is in memory, and never longer than was said."""

import os
from contextlib import AsyncExitStack

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from appliance.disk.listing import entry_of
from appliance.web.opened_blocks import AHEAD, BLOCK, OpenedBlocks, read_now
from appliance.web.share_file import ShareFile

SIZE = 3 * BLOCK + AHEAD + 12_345


@pytest.fixture
def film(tmp_path):
    """A file of a few blocks, the last of them not full; different everywhere."""
    path = tmp_path / "film.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def opened(film):
    """A descriptor of it."""
    descriptor = os.open(film, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def send(path, headers=(), meanwhile=None, method="GET", *, has_threads=False):
    """Send a file to nobody, while no thread is free; return the status, the headers and the body."""
    messages = []

    async def note(message):
        messages.append(message)
        if meanwhile is not None and len(messages) == 2:
            meanwhile()

    async def never():
        await anyio.sleep_forever()

    async def main():
        descriptor = os.open(path, os.O_RDONLY)
        limiter = anyio.to_thread.current_default_thread_limiter()
        async with AsyncExitStack() as stack:
            for _ in range(0 if has_threads else int(limiter.total_tokens)):
                await limiter.acquire_on_behalf_of(holder := object())
                stack.callback(limiter.release_on_behalf_of, holder)
            with anyio.fail_after(60):
                scope = {"type": "http", "method": method, "headers": list(headers)}
                answer = ShareFile(descriptor, entry_of(b"film.bin", os.fstat(descriptor)))
                await answer(scope, never, note)

    anyio.run(main)
    told = dict(messages[0]["headers"])
    return messages[0]["status"], told, b"".join(bytes(each["body"]) for each in messages[1:])


def test_what_is_in_memory_is_sent_without_a_thread(film):
    """Not one is free here, and all arrives: the whole, a part, several parts."""
    content = film.read_bytes()
    if _is_slow(film):
        pytest.skip("this file system cannot say what is in memory")

    status, told, body = send(film)
    assert (status, told[b"content-length"], body) == (200, b"%d" % SIZE, content)

    status, told, body = send(film, [(b"range", b"bytes=%d-%d" % (BLOCK - 7, 3 * BLOCK))])
    assert (status, body) == (206, content[BLOCK - 7 : 3 * BLOCK + 1])

    status, told, body = send(film, [(b"range", b"bytes=5-9,%d-" % (SIZE - 20))])
    assert status == 206
    assert len(body) == int(told[b"content-length"])
    assert content[5:10] in body
    assert content[-20:] in body

    assert send(film, method="HEAD")[2] == b""


def _is_slow(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return read_now(descriptor, SIZE, 0) is None
    finally:
        os.close(descriptor)


def test_a_file_that_grows_meanwhile_ends_where_it_was_said_to(film):
    """The length was told; what was added belongs to another answer."""
    content = film.read_bytes()

    def grow():
        with film.open("ab") as file:
            file.write(bytes(2 * BLOCK))

    _, told, body = send(film, meanwhile=grow, has_threads=True)
    assert told[b"content-length"] == b"%d" % SIZE
    assert body == content


def read_to_the_end(descriptor, size, count=BLOCK, start=0):
    """Return the pieces that come, as ``FileResponse`` asks for them."""

    async def main():
        blocks = OpenedBlocks(descriptor, size)
        await blocks.seek(start)
        pieces = []
        while True:
            piece = bytes(await blocks.read(count))
            if not piece:
                return pieces
            pieces.append(piece)

    return anyio.run(main)


@pytest.mark.parametrize("count", [BLOCK, 1_000, 2 * AHEAD])
def test_what_is_not_in_memory_is_fetched(film, opened, count):
    """Thrown out of memory first, where the file system allows: the same bytes, in blocks as full as asked."""
    content = film.read_bytes()
    os.fsync(opened)
    os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)

    pieces = read_to_the_end(opened, SIZE, count, start=4_321)

    assert b"".join(pieces) == content[4_321:]
    assert {len(each) for each in pieces[:-1]} <= {count}


def test_a_file_that_was_cut_ends_early_and_no_sooner(film, opened):
    """What is left comes; the server sees that it is less than was told, and cuts the line."""
    content = film.read_bytes()
    os.truncate(film, BLOCK + 10)

    assert b"".join(read_to_the_end(opened, SIZE)) == content[: BLOCK + 10]


def test_after_a_jump_nothing_of_before_is_left(film, opened):
    """What a thread had fetched for the place before is forgotten."""
    content = film.read_bytes()
    os.fsync(opened)
    os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)

    async def main():
        blocks = OpenedBlocks(opened, SIZE)
        await blocks.read(BLOCK)
        await blocks.seek(SIZE - 9)
        return bytes(await blocks.read(BLOCK)), bytes(await blocks.read(BLOCK))

    assert anyio.run(main) == (content[-9:], b"")


def test_others_come_between_two_blocks(film, opened):
    """However fast the one takes."""
    turns = []

    async def another():
        for _ in range(20):
            turns.append("other")
            await anyio.lowlevel.checkpoint()

    async def main():
        blocks = OpenedBlocks(opened, SIZE)
        async with anyio.create_task_group() as group:
            group.start_soon(another)
            for _ in range(5):
                await blocks.read(BLOCK)
                turns.append("block")

    anyio.run(main)
    assert "other" in turns[: turns.index("block") + 2]
