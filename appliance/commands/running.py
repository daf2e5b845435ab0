"""``armoire run``: the two processes of a box together, in one terminal."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

import click

from appliance.commands.framework import Command, answers
from appliance.commands.serve import require_box
from appliance.commands.session import Answer, ExitCode, Session, nothing_to_show
from appliance.commands.setting_up import base_url
from appliance.language import mark
from appliance.policy.listening import base_address
from appliance.process import Process, end_group, start
from appliance.settings import Settings
from appliance.worker import log
from appliance.worker.runner import child_environment
from appliance.worker.seen import answers as is_open

PARTS: Final = ("worker", "serve")
#: A part has so long to end after SIGTERM; the worker gives its jobs 30 s of it.
STOP_S: Final = 45.0


@click.command(
    "run",
    cls=Command,
    help=mark("Serve the web interface and run the worker, together, until Ctrl-C."),
)
@answers
def run(session: Session) -> Answer:
    """Run both."""
    require_box(session)
    code = run_both(session)
    return Answer({"stopped": code is ExitCode.DONE}, nothing_to_show, code)


def run_both(session: Session, *, ready: Callable[[], None] | None = None) -> ExitCode:
    """Run worker and web interface as child processes until Ctrl-C, SIGTERM, or the end of one.

    Args:
        session: of the box.
        ready: called once the web interface answers.

    Returns:
        DONE when a person ended it, FAILED when a part ended by itself.
    """
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    parts: dict[str, Process] = {}
    try:
        for part in PARTS:
            # What they log is for the box, not for the terminal somebody reads.
            with log.file_of(session.settings, part) as file:
                parts[part] = start(
                    _argv(session.settings, part), env=child_environment(os.environ), log=file
                )
        told = False
        while not asked.is_set():
            for part, process in parts.items():
                if process.poll() is not None:
                    session.tell(
                        mark(
                            "«armoire %(part)s» ended by itself (exit code %(code)s); see %(log)s."
                        ),
                        part=part,
                        code=process.returncode,
                        log=session.settings.data / "log" / f"{part}.log",
                    )
                    return ExitCode.FAILED
            if not told and _answers(session.settings):
                told = True
                session.tell(
                    mark("The web interface is at %(address)s. Ctrl-C ends everything."),
                    address=base_url(session.settings),
                )
                if ready is not None:
                    ready()
            asked.wait(0.2)
        session.tell(mark("Ending…"))
        return ExitCode.DONE
    finally:
        stop_parts(list(parts.values()))
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_parts(processes: list[Process]) -> None:
    """End these: SIGTERM to all at once, time to finish, then the end of their groups."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + STOP_S
    while time.monotonic() < deadline and any(each.poll() is None for each in processes):
        time.sleep(0.05)
    for process in processes:
        end_group(process, grace_s=1.0)


def _argv(settings: Settings, part: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "appliance.cli",
        part,
        "--data",
        str(settings.data),
        "--with-parent",
    ]


def _answers(settings: Settings) -> bool:
    return is_open(base_address(settings.listen_address), settings.listen_port)
