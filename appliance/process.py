"""Running other programs: the only module that imports ``subprocess``.

No shell, a closed environment, secrets down a pipe or a memory file, an own process group that is
ended as one, and readers that never die on a bad line (or the child would block for ever).
"""

import os
import shutil
import signal
import subprocess  # noqa: TID251 - the one door
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO, Final

from appliance.errors import ArmoireError, JobCancelled, ToolMissing, ToolTimeout
from appliance.vault.secret import Secret

POLL_S: Final = 0.1  # seconds
GRACE_S: Final = 10.0  # seconds between SIGINT and SIGKILL
TAIL_LINES: Final = 200
#: What ``start`` and ``pipes`` give, so that others need not import ``subprocess`` for its name.
Process = subprocess.Popen[bytes]
#: Ends a program whose parent was killed: a SIGKILL runs no code of ours. Source: prctl(2), setpriv(1).
_WITH_PARENT: Final = ("/usr/bin/setpriv", "--pdeathsig", "INT", "--")
#: What setpriv answers when it could not start the program.
_NOT_BEGUN: Final = frozenset({1, 126, 127})
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended."""

    exit_code: int  # negative: the signal that ended it
    stdout: str
    stderr_tail: tuple[str, ...]


def _nothing(_line: str) -> None:
    pass


def _never() -> bool:
    return False


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    passphrase: Secret | None = None,
    stdin: bytes | None = None,
    on_stdout: Callable[[str], None] | None = None,
    on_stderr: Callable[[str], None] = _nothing,
    should_stop: Callable[[], bool] = _never,
) -> Finished:
    """Run ``argv`` until it ends and return how it ended; its exit code is the caller's to judge.

    Args:
        argv: program and arguments; no shell, nothing is split or joined.
        timeout_s: wall-clock seconds until the process group is stopped.
        env: the child's whole environment besides PATH and LC_ALL; ours is not inherited.
        cwd: folder to start in.
        passphrase: goes down a pipe named by BORG_PASSPHRASE_FD, so no process list shows it.
        stdin: written to the program, then closed; None means an empty one: a prompt must fail, not hang.
        on_stdout: called per line instead of collecting; ``Finished.stdout`` is then empty.
        on_stderr: called per line, without its newline, on a reader thread.
        should_stop: asked every POLL_S seconds.

    Raises:
        ToolMissing: ``argv[0]`` is not installed.
        ToolTimeout: ``timeout_s`` passed.
        JobCancelled: ``should_stop`` said so.

    Source: Borg 1.4 manual, "Environment Variables": BORG_PASSPHRASE wins over _FD, so ``env`` is closed.
    """
    collected: list[str] = []
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    if shutil.which(argv[0], path=(env or {}).get("PATH", PATH)) is None:
        raise ToolMissing(argv[0])
    with _inheritable_pipe(passphrase) as secret_fd:
        extra = {} if secret_fd is None else {"BORG_PASSPHRASE_FD": str(secret_fd)}
        try:
            process = subprocess.Popen(
                [*_with_parent(), *argv],
                env={"PATH": PATH, "LC_ALL": "C.UTF-8", **(env or {}), **extra},
                cwd=cwd,
                pass_fds=() if secret_fd is None else (secret_fd,),
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="backslashreplace",
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ToolMissing(argv[0]) from error
    readers = [
        Thread(target=_drain, args=(process.stdout, (on_stdout or collected.append,)), daemon=True),
        Thread(target=_drain, args=(process.stderr, (tail.append, on_stderr)), daemon=True),
    ]
    if stdin is not None:
        readers.append(Thread(target=_feed, args=(process.stdin, stdin), daemon=True))
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + timeout_s
    stop: ArmoireError | None = None
    while stop is None:
        try:
            process.wait(POLL_S)
            break
        except subprocess.TimeoutExpired:
            if should_stop():
                stop = JobCancelled()
            elif time.monotonic() > deadline:
                stop = ToolTimeout(argv[0], timeout_s)
    if stop is not None:
        end_group(process)
    for reader in readers:
        reader.join()
    if stop is not None:
        raise stop
    if process.returncode in _NOT_BEGUN and any(each.startswith("setpriv: ") for each in tail):
        raise ToolMissing(argv[0])  # it never ran: its exit code says nothing
    return Finished(process.returncode, "\n".join(collected), tuple(tail))


def _with_parent() -> tuple[str, ...]:
    return _WITH_PARENT if Path(_WITH_PARENT[0]).exists() else ()


@contextmanager
def pipes(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Yield ``argv`` running with unbuffered binary stdin, stdout and stderr; ended with its group.

    Raises:
        ToolMissing: ``argv[0]`` is not installed.
    """
    try:
        process = subprocess.Popen(
            argv,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise ToolMissing(argv[0]) from error
    try:
        yield process
    finally:
        end_group(process, grace_s=1.0)
        for stream in (process.stdin, process.stdout, process.stderr):
            with suppress(OSError):
                if stream is not None:
                    stream.close()


def start(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, log: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program of our own that runs beside us, in its own group; the caller ends it with ``end_group``.

    Raises:
        ToolMissing: ``argv[0]`` is not installed.
    """
    try:
        return subprocess.Popen(
            argv,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise ToolMissing(argv[0]) from error


def end_group(
    process: subprocess.Popen[bytes] | subprocess.Popen[str], grace_s: float = GRACE_S
) -> None:
    """End a process and its group: SIGINT (Borg keeps a checkpoint), ``grace_s`` seconds, SIGKILL."""
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


@contextmanager
def _inheritable_pipe(secret: Secret | None) -> Iterator[int | None]:
    """Yield the reading end of a pipe that holds ``secret``, or None; closed here after the start."""
    if secret is None:
        yield None
        return
    reading, writing = os.pipe()
    try:
        try:
            os.write(writing, secret.reveal())  # well under PIPE_BUF: cannot block
        finally:
            os.close(writing)
        yield reading
    finally:
        os.close(reading)


def _feed(stream: IO[str] | None, data: bytes) -> None:
    assert stream is not None  # noqa: S101 - opened as a pipe above
    with suppress(OSError):
        stream.buffer.write(data)  # type: ignore[attr-defined]
    with suppress(OSError):
        stream.close()


def _drain(stream: IO[str] | None, sinks: Sequence[Callable[[str], object]]) -> None:
    assert stream is not None  # noqa: S101 - opened as a pipe above
    with stream:
        for line in stream:
            text = line.rstrip("\n")
            for sink in sinks:
                # A sink that fails must not stop the reading: the child would block on a full pipe.
                with suppress(Exception):
                    sink(text)
