"""A recovery at work: documents are served from the copy at once, everything comes back behind them.

Three things at a time in this process: the restore in a thread, the reader's socket in another, and here
the look-out that starts the read-only web interface (a process of its own, without keys), tells how it
goes and listens for Ctrl-C. Killed at any line, `armoire recover` goes on.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import utc_now
from appliance.commands import recover_state
from appliance.commands.recover_board import Board, settle
from appliance.commands.recover_reader import RecoveryReader
from appliance.commands.recover_shares import bring_shares
from appliance.errors import ArmoireError, JobCancelled, JobCrashed, TargetUnreachable
from appliance.jobs import recovery_status
from appliance.jobs.recovery_status import Phase, RecoveryStatus
from appliance.process import Process, end_group, start
from appliance.replication import recover_progress
from appliance.replication.recover import Line, RecoverySheet, recover
from appliance.replication.recover_choice import Look, Proposal
from appliance.replication.recover_polite import Gate, Polite
from appliance.replication.target import Target
from appliance.settings import Settings, load
from appliance.vault.secret import Secret
from appliance.worker import log
from appliance.worker.runner import child_environment

TICK_S: Final = 0.5
#: Waits before a place that does not answer is asked again; the last one again and again.
AGAIN_S: Final = (2.0, 5.0, 15.0, 60.0)
#: The web interface is started again so often when it ends by itself.
WEB_TRIES: Final = 5
BEAT_S: Final = 10.0  # as the worker's own


@dataclass(frozen=True)
class Plan:
    """What was decided before a recovery begins."""

    settings: Settings
    proposal: Proposal
    looks: Sequence[Look]
    open_target: Mapping[str, Callable[[], Target]]
    connections: int
    identity: Secret
    signer: Ed25519PublicKey
    wanted: Sequence[int] = ()
    accept_incomplete: bool = False
    #: Serve documents meanwhile; ``listen`` are settings of the web interface that differ here.
    is_readable: bool = True
    listen: Mapping[str, str] = field(default_factory=dict)


class Recovering:
    """One run of a recovery; ``run`` once."""

    def __init__(
        self,
        plan: Plan | None,
        settings: Settings,
        board: Board,
        *,
        on_tick: Callable[[RecoveryStatus], None] = lambda _status: None,
        on_web: Callable[[Settings, bool], None] = lambda _settings, _again: None,
    ) -> None:
        """Prepare.

        Args:
            plan: None when repositories are back and only shares are left.
            settings: of the new box.
            board: its status.
            on_tick: shows the status, about twice a second.
            on_web: called when the web interface was started, with the settings that came with the state,
                and whether it ended by itself before.
        """
        self._plan = plan
        self._settings = settings
        self._board = board
        self._on_tick = on_tick
        self._on_web = on_web
        self._gate = Gate()
        self._stop = threading.Event()
        self._is_readable = threading.Event()
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._sheet: RecoverySheet | None = None
        self._reader: RecoveryReader | None = None
        self._beat_at = float("-inf")

    def run(self) -> RecoverySheet | None:
        """Bring everything back; return the sheet, None when only shares were left.

        Raises:
            JobCancelled: Ctrl-C or SIGTERM; the same command goes on.
            ObjectMissing, ObjectAltered: no place has a file as it was.
            AlreadyRunning, AlreadyExists, InvalidInput, RepositoryDamaged, VaultError, NoSpace.
        """
        before = {
            number: signal.signal(number, self._ask_to_stop)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        work = threading.Thread(target=self._work, name="recovery", daemon=True)
        web = _Web(self._plan.listen if self._plan is not None else {})
        try:
            work.start()
            while not self._done.wait(TICK_S):
                self._on_tick(self._board.tell())
                self._beat()
                if self._is_readable.is_set() and not self._stop.is_set():
                    self._serve(web)
        finally:
            self._stop.set()
            web.stop()
            work.join()
            if self._reader is not None:
                self._reader.close()
            if self._beat_at > 0:
                with suppress(ArmoireError, SQLAlchemyError):
                    recover_state.leave(self._settings)
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._error is not None:
            recovery_status.forget_live(self._settings)
            raise self._error
        return self._sheet

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()

    def _beat(self) -> None:
        """Say that somebody works on this box: nobody is asked to start the worker."""
        if not self._is_readable.is_set() or time.monotonic() < self._beat_at:
            return
        self._beat_at = time.monotonic() + BEAT_S
        with suppress(ArmoireError, SQLAlchemyError):
            recover_state.beat(self._settings)

    # --- documents -------------------------------------------------------------------------

    def _serve(self, web: "_Web") -> None:
        listen = self._plan.listen if self._plan is not None else {}
        # What came with the state counts from now on.
        settings = load(self._settings.data, {**os.environ, **listen})
        if self._reader is None:
            with suppress(ArmoireError, OSError):
                self._reader = RecoveryReader(
                    settings,
                    self._board,
                    plan=None if self._plan is None else self._plan.proposal,
                    looks=() if self._plan is None else self._plan.looks,
                    open_target={} if self._plan is None else self._plan.open_target,
                    identity=None if self._plan is None else self._plan.identity,
                    gate=self._gate,
                )
                self._reader.back(self._back())
        if web.turn(settings):
            self._on_web(settings, web.has_failed)

    def _back(self) -> frozenset[int]:
        found = settle(self._board, recover_progress.read_progress(self._settings.data))
        if self._reader is not None:
            self._reader.back(found)
        return found

    # --- the restore, in its thread --------------------------------------------------------

    def _work(self) -> None:
        try:
            if self._plan is not None:
                self._sheet = self._recover(self._plan)
                self._back()
            self._board.change(phase=Phase.SHARES)
            self._board.keep()
            if self._plan is None or self._plan.is_readable:
                self._is_readable.set()
            bring_shares(self._settings, self._board, should_stop=self._stop.is_set)
        except ArmoireError as error:
            self._error = error
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            log_error = log.where(error)
            self._error = JobCrashed(log_error)
        finally:
            self._done.set()

    def _recover(self, plan: Plan) -> RecoverySheet:
        tries, best = 0, -1
        while True:
            self._begin_attempt(plan)
            try:
                return recover(
                    plan.proposal,
                    plan.looks,
                    plan.settings,
                    self._line(plan),
                    plan.identity,
                    signer=plan.signer,
                    now=utc_now,
                    wanted=plan.wanted,
                    accept_incomplete=plan.accept_incomplete,
                )
            except TargetUnreachable:
                # A night is long, a line is cut now and then: documents stay readable meanwhile.
                back = self._board.status.bytes_back
                tries, best = (0, back) if back > best else (tries + 1, best)
                if self._stop.wait(AGAIN_S[min(tries, len(AGAIN_S) - 1)]):
                    raise JobCancelled from None

    def _begin_attempt(self, plan: Plan) -> None:
        progress = recover_progress.read_progress(plan.settings.data)
        back = settle(self._board, progress)
        if progress is not None and progress.state is not None:
            back |= {0}
        self._board.change(
            bytes_back=sum(
                each.bytes for each in self._board.status.repositories if each.source_id in back
            )
        )

    def _line(self, plan: Plan) -> Line:
        def polite(opener: Callable[[], Target]) -> Callable[[], Target]:
            return lambda: Polite(opener(), self._gate)

        return Line(
            {name: polite(opener) for name, opener in plan.open_target.items()},
            connections=plan.connections,
            on_bytes=self._board.came,
            on_step=self._on_step,
            on_state=self._on_state,
            should_stop=self._stop.is_set,
        )

    def _on_state(self) -> None:
        self._back()
        recover_state.end_old_jobs(self._settings)
        recover_state.hand_over(self._settings.data)
        now = utc_now()
        if self._board.status.state_at is None:
            self._board.change(state_at=now)
        self._board.change(phase=Phase.REPOSITORIES)
        self._board.keep()
        if self._plan is not None and self._plan.is_readable:
            self._is_readable.set()

    def _on_step(self, step: str) -> None:
        self._back()
        kind, _, number = step.partition(":")
        if kind == "repository":
            self._board.repository(int(number), state="fetching")
        elif kind == "state":
            self._board.repository(0, state="fetching")


class _Web:
    """The read-only web interface: a process that holds no key, ended with this one."""

    def __init__(self, listen: Mapping[str, str]) -> None:
        self._listen = listen
        self._process: Process | None = None
        self._tries = 0
        self._next_at = float("-inf")

    def turn(self, settings: Settings) -> bool:
        """Start it when it does not run; return whether it was started now."""
        if self._process is not None:
            if self._process.poll() is None:
                return False
            self._process = None
            self._next_at = time.monotonic() + 2.0**self._tries
        if self._tries >= WEB_TRIES or time.monotonic() < self._next_at:
            return False
        self._tries += 1
        argv = [sys.executable, "-m", "appliance.cli", "serve", "--data", str(settings.data)]
        with log.file_of(settings, "serve") as file:
            self._process = start(
                [
                    *recover_state.without_privileges(settings),
                    *argv,
                    "--with-parent",
                    "--read-only",
                ],
                env={**child_environment(os.environ), **self._listen},
                log=file,
            )
        return True

    @property
    def has_failed(self) -> bool:
        """Whether it ended by itself."""
        return self._tries > 1

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            end_group(self._process, grace_s=8.0)
