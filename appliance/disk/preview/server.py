"""The process that makes previews: waits on a Unix socket, and gives each request a child of its own.

It reads nothing of what it is sent: the child takes the request, locks itself in (``sandbox``), makes the
answer, sends it and ends. A child that takes too long is killed; one that crashes costs only its own request.
Decoders are loaded when the first request comes, and given back, by starting anew, after ten quiet minutes.
One thread only: a fork of more is not safe.
"""

import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from appliance.disk.preview import protocol, sandbox

#: Seconds of the clock until a child is killed.
WALL_S: Final = 15.0
#: Children at once: more than that wait in the socket's queue.
MOST_CHILDREN: Final = max(2, os.cpu_count() or 2)
REQUEST_S: Final = 5.0  # a client that is connected and says nothing
IDLE_S: Final = 600.0
LOOK_S: Final = 5.0
_QUEUE: Final = 128
_log = logging.getLogger("armoire.preview")


class Server:
    """Listens on ``path`` (0660: its group may ask); ``serve`` until it is told to end.

    Who may ask is said by the socket's mode alone: whoever sends a file has it open already, and gets back
    nothing else than a picture of it.
    """

    def __init__(self, path: Path, *, listening: int | None = None, idle_s: float = IDLE_S) -> None:
        """Begin to listen, or take over the descriptor ``listening`` from the process that we were.

        After ``idle_s`` quiet seconds the decoders are given back.
        """
        self._idle_after_s = idle_s
        self._path = path
        self._channel = _listen(path) if listening is None else socket.socket(fileno=listening)
        self._channel.setblocking(False)
        self._inode = path.stat().st_ino
        self._children: dict[int, tuple[float, float]] = {}  # pid → began at, must end at
        self._is_loaded = False
        self._asked_at = time.monotonic()
        self._is_over = False
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def stop(self, *_: object) -> None:
        """End: for a signal's handler."""
        self._is_over = True
        with suppress(OSError):
            os.write(self._writing, b"x")

    def serve(self, again: Sequence[str]) -> int:
        """Answer until ``stop`` or until another process takes the socket's place; return the exit code.

        ``again`` is how this program is started anew once it was idle; the descriptor is appended to it.
        """
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes the selector
        with selectors.DefaultSelector() as selector:
            selector.register(self._reading, selectors.EVENT_READ)
            is_waiting = False
            while not self._is_over and not self._is_replaced():
                may_take = len(self._children) < MOST_CHILDREN
                if may_take != is_waiting:
                    if may_take:
                        selector.register(self._channel, selectors.EVENT_READ)
                    else:
                        selector.unregister(self._channel)
                    is_waiting = may_take
                for key, _ in selector.select(self._wait_s()):
                    if key.fileobj is self._channel:
                        self._take()
                    else:
                        with suppress(BlockingIOError):
                            os.read(self._reading, 4096)
                self._reap()
                if self._is_loaded and not self._children and self._idle_s() > self._idle_after_s:
                    self._begin_anew(again)
        self._end()
        return 0

    def _wait_s(self) -> float:
        now = time.monotonic()
        return max(
            0.0,
            min([LOOK_S, self._idle_after_s, *(ends - now for _, ends in self._children.values())]),
        )

    def _idle_s(self) -> float:
        return time.monotonic() - self._asked_at

    def _is_replaced(self) -> bool:
        try:
            return self._path.stat().st_ino != self._inode
        except OSError:
            return True

    def _take(self) -> None:
        try:
            client, _ = self._channel.accept()
        except OSError:
            return  # it went away, or we are out of descriptors: the next turn
        with client:
            self._load()
            now = time.monotonic()
            self._asked_at = now
            try:
                child = os.fork()
            except OSError as error:
                _log.error("no child: %s", os.strerror(error.errno or 0))
                return
            if child == 0:
                _be_the_child(client)
            self._children[child] = (now, now + WALL_S)

    def _load(self) -> None:
        if self._is_loaded:
            return
        began = time.monotonic()
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        from appliance.disk.preview import making  # noqa: PLC0415 - 45 MB of decoders

        for name in ("PIL", "pydicom", "pypdfium2"):  # what they tell may stand in a patient's file
            logging.getLogger(name).setLevel(logging.CRITICAL)
        making.warm()
        self._is_loaded = True
        _log.info("decoders loaded in %.2f s", time.monotonic() - began)

    def _reap(self) -> None:
        now = time.monotonic()
        for child, (began, ends) in list(self._children.items()):
            if now >= ends:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            found, status, used = os.wait4(child, os.WNOHANG if now < ends else 0)
            if found:
                del self._children[child]
                _log.log(
                    logging.INFO if status else logging.DEBUG,
                    "preview ended code=%s ms=%d cpu_ms=%d rss_kib=%d",
                    os.waitstatus_to_exitcode(status),
                    (now - began) * 1000,
                    (used.ru_utime + used.ru_stime) * 1000,
                    used.ru_maxrss,
                )

    def _begin_anew(self, again: Sequence[str]) -> None:
        _log.info("decoders are given back")
        os.set_inheritable(self._channel.fileno(), True)
        os.execv(again[0], [*again, "--listening", str(self._channel.fileno())])  # noqa: S606 - ourselves

    def _end(self) -> None:
        if not self._is_replaced():
            self._path.unlink(missing_ok=True)
        self._channel.close()
        for child in self._children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


def _be_the_child(client: socket.socket) -> None:
    """Answer one request and end; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        client.settimeout(REQUEST_S)
        wanted, files = protocol.receive_request(client)
        client.settimeout(None)
        sandbox.enter({client.fileno(), *files})
        making = sys.modules["appliance.disk.preview.making"]
        _write(client.fileno(), making.packed(wanted, files))
        code = 0
    except BaseException:  # noqa: BLE001, S110 - whatever it says may hold what stands in the file
        pass
    finally:
        os._exit(code)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _listen(path: Path) -> socket.socket:
    """Bind beside the place, set the mode, then rename: never open to more than 0660."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            with protocol.address(draft) as place:
                channel.bind(place)
        finally:
            os.umask(before)
        draft.chmod(0o660)
        channel.listen(_QUEUE)
        draft.replace(path)
    except BaseException:
        channel.close()
        draft.unlink(missing_ok=True)
        raise
    return channel
