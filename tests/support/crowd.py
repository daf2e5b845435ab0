"""Many people at once: each with a session of their own, on one kept-alive TLS connection, asking for one thing after another."""

import asyncio
import os
import random
import ssl
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import uvloop

from appliance.accounts import people, sessions
from appliance.clock import utc_now
from appliance.db import shares
from appliance.disk.index_file import Index, path_of
from appliance.disk.index_keep import Keeper
from appliance.model import Role
from appliance.packed import pack_path
from appliance.policy.share_rights import Right
from tests.support.armoire import PROGRAM, ROOT
from tests.support.box import Box
from tests.support.sshd import free_port

FOLDERS = 40
SMALL = 50_000
LARGE = 4_000_000
#: What somebody does, and how often.
HABITS = {"page": 4, "list": 3, "open": 5, "search": 3, "range": 2, "download": 1}


@dataclass
class Scene:
    """A box with a share that is also a source, and people who may read it."""

    box: Box
    folder: Path
    tokens: list[str]
    words: list[str]

    @classmethod
    def make(cls, place: Path, count: int, *, files: int, large: int) -> "Scene":
        """``files`` of 50 KB in 40 folders, and ``large`` files of 4 MB."""
        box = Box(place / "data")
        folder = place / "documents"
        dice = random.Random(191)
        words = [
            f"{dice.choice('bcdfglmnprst')}{dice.choice(['ara', 'eno', 'uti'])}{number:03}"
            for number in range(files)
        ]
        for number in range(FOLDERS):
            (folder / f"Patient {number}").mkdir(parents=True)
        for number, word in enumerate(words):
            (folder / f"Patient {number % FOLDERS}" / f"{word}.pdf").write_bytes(os.urandom(SMALL))
        for number in range(large):
            (folder / f"film {number}.avi").write_bytes(os.urandom(LARGE))
        source = box.add_share(folder)
        now = utc_now()
        tokens = []
        with box.database.write() as connection:
            share = shares.add(
                connection,
                name="documents",
                label="Documents",
                folder=folder,
                now=now,
                source_id=source.id,
            )
            shares.grant(connection, share.id, {Right.SEE}, role=Role.SECRETARY, by=None, now=now)
            for number in range(count):
                person = people.add(
                    connection, login=f"p{number}", name=f"Personne {number}", role=Role.SECRETARY,
                    language="fr", password_hash=None, now=now,
                )  # fmt: skip
                tokens.append(
                    sessions.start(
                        connection, person.id, now=now, address="127.0.0.1", user_agent="crowd"
                    )
                )
        keeper = Keeper(share, Index(path_of(box.settings, share.id)))
        keeper.look_at_all()
        keeper.settle()
        keeper.index.close()
        return cls(box, folder, tokens, words)

    @property
    def source(self):
        """The share as a source of backups."""
        from appliance.db import sources

        with self.box.database.read() as connection:
            return sources.all_living(connection)[0]

    def path(self, habit: str, dice: random.Random, large: int) -> tuple[str, str]:
        """An address, and a header beside the usual ones."""
        place = dice.randrange(len(self.words))
        folder = f"Patient {place % FOLDERS}"
        word = self.words[place]
        film = f"/disk/documents/file?p={pack_path(f'film {dice.randrange(large)}.avi'.encode())}"
        begin = dice.randrange(LARGE // 2)
        return {
            "page": (f"/disk/documents?p={pack_path(folder.encode())}", ""),
            "list": (f"/api/v1/disk/documents/list?p={pack_path(folder.encode())}", ""),
            "open": (f"/disk/documents/file?p={pack_path(f'{folder}/{word}.pdf'.encode())}", ""),
            "search": (f"/disk/search?q={word[:4]}&few=1", "HX-Request: true\r\n"),
            "range": (film, f"Range: bytes={begin}-{begin + 99_999}\r\n"),
            "download": (film, ""),
        }[habit]


@dataclass
class Told:
    """What became of all the requests."""

    took_ms: list[float] = field(default_factory=list)
    by_habit: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def p(self, part: float) -> float:
        """The time within which that part of them was answered, ms."""
        return sorted(self.took_ms)[min(len(self.took_ms) - 1, int(len(self.took_ms) * part))]

    @property
    def p50(self) -> float:
        """The middle one, ms."""
        return statistics.median(self.took_ms)


# One for all: to read the system's authorities takes longer than a page.
_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_CONTEXT.check_hostname = False
_CONTEXT.verify_mode = ssl.CERT_NONE


class Person:
    """One kept-alive connection."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.headers = (
            f"Host: 127.0.0.1\r\nCookie: __Host-sid={token}\r\nSec-Fetch-Site: same-origin\r\n"
        )

    async def come(self) -> None:
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=_CONTEXT, limit=1 << 20
        )

    async def ask(self, path: str, more: str) -> tuple[int, int]:
        """Return status and length of an answer read to its end."""
        self.writer.write(f"GET {path} HTTP/1.1\r\n{self.headers}{more}\r\n".encode())
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        length = next(
            (
                int(line.partition(":")[2])
                for line in head.split("\r\n")
                if line.startswith("content-length:")
            ),
            None,
        )
        assert length is not None, head
        left = length
        while left:
            got = len(await self.reader.read(min(left, 1 << 20)))
            if not got:
                raise ConnectionResetError("cut")
            left -= got
        return status, length

    async def go(self) -> None:
        """Hang up, and see the line closed."""
        self.writer.close()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(self.writer.wait_closed(), 10)


async def _live(
    scene: Scene,
    person: Person,
    told: Told,
    dice: random.Random,
    large: int,
    pause_s: float,
    goes_on: Callable[[], bool],
) -> None:
    await person.come()
    try:
        await _click(scene, person, told, dice, large, pause_s, goes_on)
    finally:
        await person.go()


async def _click(
    scene: Scene,
    person: Person,
    told: Told,
    dice: random.Random,
    large: int,
    pause_s: float,
    goes_on: Callable[[], bool],
) -> None:
    habits = dice.choices(list(HABITS), list(HABITS.values()), k=10_000)
    await asyncio.sleep(dice.random() * pause_s * 2)
    for habit in habits:
        if not goes_on():
            break
        path, more = scene.path(habit, dice, large)
        began = time.perf_counter()
        try:
            status, length = await person.ask(path, more)
        except (OSError, asyncio.IncompleteReadError) as error:
            told.wrong.append(f"{habit}: {type(error).__name__}")
            return
        took = (time.perf_counter() - began) * 1000
        told.took_ms.append(took)
        told.by_habit.setdefault(habit, []).append(took)
        told.statuses[status] += 1
        wanted = {"open": SMALL, "range": 100_000, "download": LARGE}.get(habit)
        if status not in {200, 206} or (wanted is not None and length != wanted):
            told.wrong.append(f"{habit}: {status}, {length} bytes")
        await asyncio.sleep(dice.random() * pause_s * 2)


def crowd(
    scene: Scene, port: int, *, large: int, pause_s: float, goes_on: Callable[[], bool]
) -> Told:
    """Let everybody read until ``goes_on()`` says no; ``pause_s`` between two clicks of a person, on average."""
    told = Told()

    async def all_of_them() -> None:
        await asyncio.gather(
            *(
                _live(
                    scene, Person(port, token), told, random.Random(number), large, pause_s, goes_on
                )
                for number, token in enumerate(scene.tokens)
            )
        )

    uvloop.run(all_of_them())  # the crowd must not be slower than what it asks
    return told


@contextmanager
def serving(scene: Scene, log: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The real web process of the box; its port, and itself. What it said is in ``log``."""
    port = free_port()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*PROGRAM, "serve"],
            env={"PATH": os.environ["PATH"], "ARMOIRE_DATA": str(scene.box.settings.data), "ARMOIRE_LISTEN_ADDRESS": "127.0.0.1", "ARMOIRE_LISTEN_PORT": str(port)},
            cwd=ROOT, stdout=file, stderr=file,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError):
                asyncio.run(_first(port))
                break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


async def _first(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
