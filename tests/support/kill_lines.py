"""``kill -9`` at a chosen line: a child of this process ends itself there, as a cut of the power would."""

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType


def run_killed(
    work: Callable[[], object], *, rooms: Sequence[str], at_line: int = 0
) -> tuple[int, int]:
    """Run ``work`` in a child of this process that kills itself at the ``at_line``-th line of ``rooms``.

    Args:
        work: opens whatever it needs itself: nothing of the parent's is used after the fork.
        rooms: parts of file names; lines of other files are not counted.
        at_line: 0: it runs to its end.

    Returns:
        How it ended (0, -9, or 1 with what it raised on stderr) and how many lines it ran.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            lines = _trace(rooms, at_line)
            work()
            sys.settrace(None)
            os.write(writing, str(next(lines)).encode())
            code = 0
        except BaseException as error:
            sys.settrace(None)
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        lines_run = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, int(lines_run or 0)


def _trace(rooms: Sequence[str], limit: int) -> Iterator[int]:
    seen = itertools.count(1)

    def on_line(_frame: FrameType, event: str, _argument: object) -> object:
        if event == "line" and next(seen) == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return on_line

    def on_call(frame: FrameType, _event: str, _argument: object) -> object:
        name = frame.f_code.co_filename
        return on_line if any(room in name for room in rooms) else None

    sys.settrace(on_call)  # type: ignore[arg-type]
    threading.settrace(on_call)  # type: ignore[arg-type]
    return seen
