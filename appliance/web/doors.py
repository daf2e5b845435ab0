"""The listening sockets: bound to the addresses that the rule allows, while the box runs (docs/decisions/0189).

An address that appears later is taken up within LOOK_S, one that may not be listened on any more is let go. What is
not allowed is not bound at all: from there the port is closed, as if there were no box. A visitor who may not come is
sent away before a byte was read from them.
"""

import asyncio
import errno
import itertools
import logging
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from typing import Any, Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from appliance.db.engine import Database
from appliance.policy import listening, local_networks
from appliance.policy.listening import Card, Rule

log = logging.getLogger(__name__)

#: Seconds between two looks at the interfaces and at what was decided.
LOOK_S: Final = 2.0
#: Looks between two notes that visitors of the Internet were sent away: a scan is told once in so many.
NOTE_EVERY: Final = 15
#: Seconds without taking anybody when the system has no file left.
BREATHE_S: Final = 0.5
#: Addresses that cannot be bound yet, or any more: a duplicate is looked for, the cable was pulled.
_NOT_NOW: Final = frozenset({errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENETUNREACH})
_TAKE_AT_ONCE: Final = 64

Look = Callable[[], tuple[Rule, list[Card]]]


class Doors:
    """The sockets of one port."""

    def __init__(self, port: int, backlog: int, look: Look) -> None:
        """Read the rule with ``look``; it may wait for a disk and is called in a thread later on."""
        self._port = port
        self._backlog = backlog
        self._look = look
        self._rule = Rule(())
        self._sockets: dict[str, socket.socket] = {}
        self._complained: set[str] = set()
        self._turned_away = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._greet: Callable[[socket.socket], None] = lambda line: line.close()

    @property
    def addresses(self) -> list[str]:
        """Where it listens now."""
        return sorted(self._sockets)

    def take_turned_away(self) -> int:
        """Return how many visitors of the Internet were sent away since this was last asked."""
        count, self._turned_away = self._turned_away, 0
        return count

    def may_stay(self, own: str, peer: str) -> bool:
        """Return whether a connection that is open may go on."""
        return str(local_networks.plain(own)) in self._sockets and listening.may_come(
            peer, self._rule
        )

    def open(self) -> None:
        """Bind what the rule allows.

        Raises:
            OSError: an address is in use, or may not be bound by this account; nothing is bound then.
        """
        try:
            self._settle(*self._look(), is_first=True)
        except OSError:
            self.close()
            raise

    def begin(
        self, loop: asyncio.AbstractEventLoop, greet: Callable[[socket.socket], None]
    ) -> None:
        """Take visitors from now on; ``greet`` gets each one's connection."""
        self._loop, self._greet = loop, greet
        for each in self._sockets.values():
            loop.add_reader(each.fileno(), self._take, each)

    async def settle(self) -> bool:
        """Look again; return whether anything is different."""
        return self._settle(*await asyncio.to_thread(self._look), is_first=False)

    def close(self) -> None:
        """Let go of every address."""
        for address in list(self._sockets):
            self._let_go(address)

    def _settle(self, rule: Rule, cards: list[Card], *, is_first: bool) -> bool:
        before, self._rule = (self._rule, set(self._sockets)), rule
        wanted = listening.addresses(listening.doors(cards, rule))
        for address in set(self._sockets) - set(wanted):
            self._let_go(address)
        for address in wanted:
            if address in self._sockets:
                continue
            try:
                self._bind(address)
            except OSError as error:
                if is_first and error.errno not in _NOT_NOW:
                    log.error("doors.not-bound %s port %s: %s", address, self._port, error.strerror)  # noqa: TRY400
                    raise
                if address not in self._complained:
                    log.warning("doors.not-bound %s errno=%s", address, error.errno)
                    self._complained.add(address)
        self._complained &= set(wanted) - set(self._sockets)
        now = (rule, set(self._sockets))
        if now != before:
            log.info("doors.listening %s port=%s", " ".join(self.addresses), self._port)
        return now != before

    def _bind(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setblocking(False)
            made.bind((address, self._port))
            made.listen(self._backlog)
        except OSError:
            made.close()
            raise
        self._sockets[address] = made
        if self._loop is not None:
            self._loop.add_reader(made.fileno(), self._take, made)

    def _let_go(self, address: str) -> None:
        gone = self._sockets.pop(address)
        if self._loop is not None:
            self._loop.remove_reader(gone.fileno())
        gone.close()

    def _take(self, door: socket.socket) -> None:
        for _ in range(_TAKE_AT_ONCE):
            try:
                line, peer = door.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no file is left: others have to end first
                log.warning("doors.not-taken errno=%s", error.errno)
                self._breathe(door)
                return
            if not listening.may_come(str(peer[0]), self._rule):
                # A reset and not a word: nothing here tells that this is a box.
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                line.close()
                self._turned_away += 1
                continue
            line.setblocking(False)
            self._greet(line)

    def _breathe(self, door: socket.socket) -> None:
        assert self._loop is not None  # noqa: S101 - it called us
        loop = self._loop
        loop.remove_reader(door.fileno())

        def again() -> None:
            if door in self._sockets.values():
                loop.add_reader(door.fileno(), self._take, door)

        loop.call_later(BREATHE_S, again)


class Server(uvicorn.Server):
    """uvicorn, behind doors that open and close while it runs."""

    def __init__(self, config: uvicorn.Config, doors: Doors, database: Database) -> None:
        super().__init__(config)
        self.doors = doors
        #: The application's; it closes it.
        self.database = database
        #: Called in a thread when the box listens elsewhere than before.
        self.on_new: Callable[[], object] = lambda: None
        #: Called in a thread with how many visitors of the Internet were sent away.
        self.on_turned_away: Callable[[int], object] = lambda _: None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Bind, start the application, take visitors; ``sockets`` of others are not served."""
        assert not sockets  # noqa: S101 - ``make_server`` gives none
        try:
            self.doors.open()
        except OSError:
            sys.exit(STARTUP_FAILURE)  # said where it was met
        await super().startup(sockets=[])
        loop = asyncio.get_running_loop()
        self.doors.begin(loop, self._greet)
        self._keep(self._watch())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the doors, let open downloads end, stop the application."""
        self.doors.close()
        for task in self._tasks:
            task.cancel()
        await super().shutdown(sockets=sockets)

    def _greet(self, line: socket.socket) -> None:
        self._keep(self._connect(line))

    def _keep(self, work: Any) -> None:  # noqa: ANN401 - a coroutine
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, line: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
                _loop=loop,
            )
            return made

        try:
            await loop.connect_accepted_socket(protocol, line, ssl=self.config.ssl)
        except (OSError, ssl.SSLError, TimeoutError):
            line.close()  # no TLS, or they went away: nothing anybody should read about

    async def _watch(self) -> None:
        for turn in itertools.count():
            await asyncio.sleep(LOOK_S)
            try:
                if turn % NOTE_EVERY == 0 and (count := self.doors.take_turned_away()):
                    await asyncio.to_thread(self.on_turned_away, count)
                is_other = await self.doors.settle()
            except Exception as error:  # noqa: BLE001 - what was in force stays in force
                log.error("doors.not-settled kind=%s", type(error).__name__)  # noqa: TRY400
                continue
            if is_other:
                self._cut()
                await asyncio.to_thread(self.on_new)

    def _cut(self) -> None:
        """End the connections that may not go on: the box was closed, or a network is declared no longer."""
        for each in list(self.server_state.connections):
            transport = each.transport
            own, peer = (transport.get_extra_info(name) for name in ("sockname", "peername"))
            if own and peer and not self.doors.may_stay(str(own[0]), str(peer[0])):
                transport.abort()
