"""The long-lived worker: one per data folder; runs what is queued, plans what is due, serves files.

It imports neither Borg nor a cryptographic protocol: those live in the processes it starts, so a box
at rest stays small.
"""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import utc_now
from appliance.db import workers
from appliance.db.engine import Database, open_database
from appliance.errors import AlreadyRunning, ArmoireError
from appliance.jobs import drill_scratch
from appliance.process import Process, end_group, start
from appliance.settings import Settings
from appliance.worker import box_source, locks, log
from appliance.worker.planner import EVERY_S, Planner
from appliance.worker.runner import JOB_MAIN, STOP_GRACE_S, Runner, child_environment
from appliance.worker.tasks import smb_watch

TURN_S: Final = 1.0  # seconds
BUSY_TURN_S: Final = 0.2  # while a job runs
BEAT_S: Final = 10.0  # seconds; db.workers calls a worker dead after 30
BURY_S: Final = 10.0
READER_MAIN: Final = (sys.executable, "-m", "appliance.worker.reader_main")
PREVIEW_MAIN: Final = (sys.executable, "-m", "appliance.worker.preview_main")
INDEX_MAIN: Final = (sys.executable, "-m", "appliance.worker.index_main")
#: Seconds before a program that ended is started again; doubled up to the last while it keeps ending.
READER_WAIT_S: Final = (1.0, 60.0)

_log = logging.getLogger("armoire.worker")


def serve(
    settings: Settings,
    *,
    stop: threading.Event | None = None,
    program: Sequence[str] = JOB_MAIN,
    reader: Sequence[str] | None = READER_MAIN,
    preview: Sequence[str] | None = PREVIEW_MAIN,
    index: Sequence[str] | None = INDEX_MAIN,
) -> int:
    """Work until SIGTERM, SIGINT or ``stop``; return the exit code.

    Args:
        settings: of the box.
        stop: ends the worker when set; signals are only handled when it is None.
        program: what runs one job.
        reader: what serves files out of snapshots; None: nothing.
        preview: what makes pictures of files; None, or no reader: nothing.
        index: what keeps the shares searchable; None, or no reader: nothing.

    Returns:
        0 when it was asked to end.

    Raises:
        AlreadyRunning: another worker holds this data folder.
    """
    log.set_up(settings.log_level)
    if stop is None:
        stop = threading.Event()
        ended = stop
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: ended.set())
    with locks.hold(locks.of_worker(settings)) as is_mine:
        if not is_mine:
            raise AlreadyRunning(str(settings.data))
        database = open_database(settings.database)
        try:
            try:
                box_source.ensure(settings, database, utc_now())
            except (SQLAlchemyError, ArmoireError) as error:
                _log.error("the box as a source: %s", log.where(error))  # the other nights go on
            beside = [each for each in (reader, preview, index) if each and reader]
            _work(settings, database, stop, program, beside)
        finally:
            database.close()
    return 0


def _work(
    settings: Settings,
    database: Database,
    stop: threading.Event,
    program: Sequence[str],
    beside: Sequence[Sequence[str]],
) -> None:
    runner = Runner(settings, database, program)
    readers = [_Beside(settings, each) for each in beside]
    planning = threading.Thread(
        target=_plan, args=(Planner(settings, database), stop), name="planner", daemon=True
    )
    planning.start()
    explorer = threading.Thread(
        target=smb_watch.watch, args=(settings, database, stop), name="smb", daemon=True
    )
    explorer.start()
    _log.info("worker %s begins in %s", runner.name, settings.data)
    beat_at = bury_at = float("-inf")
    told = False
    try:
        while not stop.is_set():
            try:
                if time.monotonic() - beat_at >= BEAT_S:
                    with database.write() as connection:
                        workers.beat(connection, runner.name, now=utc_now())
                    beat_at = time.monotonic()
                    tell_systemd("WATCHDOG=1")
                if time.monotonic() - bury_at >= BURY_S:
                    runner.bury(utc_now())
                    drill_scratch.sweep(settings, database)
                    bury_at = time.monotonic()
                runner.turn(utc_now())
            except SQLAlchemyError as error:
                # A full disk or a busy database passes; jobs go on meanwhile.
                _log.error("the database: %s", log.where(error))
            for reader in readers:
                reader.turn()
            if not told:
                tell_systemd("READY=1")
                told = True
            # What follows from a job should not wait a second for each of its links.
            stop.wait(BUSY_TURN_S if runner.running else TURN_S)
    finally:
        tell_systemd("STOPPING=1")
        _log.info("worker %s stops", runner.name)
        for reader in readers:
            reader.stop()
        runner.stop(grace_s=STOP_GRACE_S)
        runner.reap(utc_now())
        planning.join(timeout=EVERY_S)
        explorer.join(timeout=EVERY_S)
        with database.write() as connection:
            workers.leave(connection, runner.name)


def _plan(planner: Planner, stop: threading.Event) -> None:
    # A thread of its own: asking a sleeping machine takes seconds, and jobs must not wait for that.
    while not stop.is_set():
        try:
            planner.turn(utc_now())
        except (SQLAlchemyError, ArmoireError) as error:
            _log.error("the planner: %s", log.where(error))
        except Exception as error:  # noqa: BLE001 - nights must go on for the other sources
            _log.critical("the planner: %s", log.where(error))
        stop.wait(EVERY_S)


class _Beside:
    """A process that serves beside the jobs, files of snapshots or previews; started again when it ends."""

    def __init__(self, settings: Settings, program: Sequence[str]) -> None:
        self._argv = [*program, "--data", str(settings.data)]
        self._process: Process | None = None
        self._wait_s = READER_WAIT_S[0]
        self._next_at = float("-inf")
        self._started_at = float("-inf")

    def turn(self) -> None:
        now = time.monotonic()
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            _log.error("%s ended (exit code %s)", self._argv[2], code)
            self._process = None
            lived = now - self._started_at > READER_WAIT_S[1]
            self._wait_s = READER_WAIT_S[0] if lived else min(self._wait_s * 2, READER_WAIT_S[1])
            self._next_at = now + self._wait_s
        if now >= self._next_at:
            self._process = start(self._argv, env=child_environment())
            self._started_at = now

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            end_group(self._process, grace_s=5.0)


def tell_systemd(message: str) -> None:
    """Tell the service manager how we are, when there is one. Source: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.connect(name)
            channel.sendall(message.encode())
        except OSError:
            _log.debug("the service manager does not listen")
