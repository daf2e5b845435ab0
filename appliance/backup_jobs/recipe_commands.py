"""A recipe's commands on a machine: run, streamed into the snapshot, or held while it is read."""

import os
import re
import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from appliance.backup_jobs import ssh
from appliance.backup_jobs.recipe_contents import checked
from appliance.backup_jobs.recipe_quoting import (
    POSIX_SHELL,
    held_script,
    posix_script,
    windows_command,
)
from appliance.backup_jobs.recipe_schema import Recipe, Step
from appliance.errors import ArmoireError, ConnectionLost, RecipeFailed, ToolTimeout
from appliance.jobs.context import JobContext
from appliance.language import mark
from appliance.model import System
from appliance.vault.secret import Secret

#: A list of databases is no longer than this.
LIST_BYTES: Final = 1024 * 1024
SAID_LINES: Final = 8

#: What programs say → what a person is told. Only our own words go into the error: theirs may name
#: tables, accounts or files. Sources: PostgreSQL 15 libpq, MariaDB 10.11 client, dash, sshd.
_MEANINGS: Final = (
    (
        r"(password|Peer) authentication failed|Access denied for user|no password supplied|role \".*\" does",
        mark("the database refused the account or its password"),
    ),
    (r"database \".*\" does not exist|Unknown database", mark("there is no such database")),
    (
        r"Connection refused|Can't connect|could not connect|connection to server .* failed",
        mark("the database server does not answer"),
    ),
    (
        r"(?i)permission denied|must be superuser|Access denied|a password is required",
        mark("the account lacks a right"),
    ),
    (r"armoire: cannot be read|unable to open database", mark("the file cannot be read")),
    (r"database is locked", mark("the database stayed locked")),
    (r"No space left", mark("the disk of the machine is full")),
)


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs the commands of one recipe on one machine."""

    endpoint: ssh.Endpoint
    system: System
    recipe: Recipe
    values: Mapping[str, str]
    secret: Secret | None
    context: JobContext
    stoppable: bool = True  # whether a cancelled job ends a command at once

    def run(
        self, label: str, step: Step, body: str, values: Mapping[str, str] | None = None
    ) -> str:
        """Run ``body`` to its end and return what it wrote, at most LIST_BYTES.

        Args:
            label: what the step is called in an error.
            step: gives the time it may take.
            body: POSIX shell or PowerShell, as the machine's system wants.
            values: on top of the recipe's.

        Raises:
            RecipeFailed: it failed, or took too long.
            MachineError: the line failed.
        """
        found = bytearray()
        for block in self._blocks(label, step, body, values or {}):
            found += block
            if len(found) > LIST_BYTES:
                raise self.failed(label, mark("the program wrote far too much"))
        return found.decode("utf-8", "surrogateescape")

    def stream(self, step: Step, values: Mapping[str, str]) -> Iterator[bytes]:
        """Yield what a dump writes; raise at its end when it is not whole.

        Raises:
            RecipeFailed: the program failed or was killed, took too long, wrote nothing, or what it
                wrote has not the head or the end it must have.
            MachineError: the line failed or was cut.
        """
        label = mark("dump")
        body = step.windows if self.system is System.WINDOWS else step.command
        blocks = self._blocks(label, step, body, values)
        return checked(blocks, step.content, lambda reason: self.failed(label, reason))

    def _blocks(
        self, label: str, step: Step, body: str, values: Mapping[str, str]
    ) -> Iterator[bytes]:
        every = {**self.values, **values}
        if self.system is System.WINDOWS:
            command, stdin = windows_command(body, every), b""
        else:
            command, stdin = POSIX_SHELL, posix_script(body, every, self.secret)
        stream = ssh.stream_command(
            self.endpoint,
            command,
            stdin=stdin,
            timeout_s=float(step.timeout_s),
            should_stop=self.context.should_stop if self.stoppable else _never,
        )
        try:
            result = yield from stream
        except ToolTimeout as error:
            raise self.failed(label, mark("it took too long")) from error
        finally:
            stream.close()
        if result.exit_code != 0:
            raise self.ended_with(label, result.exit_code, result.stderr_tail)

    @contextmanager
    def held(
        self, before: Step | None, after: Step | None, settled: Callable[[], None]
    ) -> Iterator[None]:
        """Run ``before``, then the block, then ``after``: always, also when the box dies meanwhile.

        On Linux and macOS one session holds both, and the machine runs ``after`` by itself when the
        session ends for any reason. Windows has no such hold: ``after`` is run from here.

        Args:
            before: a step or None.
            after: a step or None.
            settled: called once ``after`` has run well.

        Raises:
            RecipeFailed: ``before`` or ``after`` failed. ``after`` has run in any case.
            MachineError: the line failed; if meanwhile, what was read is not consistent.
        """
        if self.system is System.WINDOWS:
            with self._one_after_the_other(before, after, settled):
                yield
            return
        script = held_script(
            before.command if before else ":", after.command if after else ":", self.values
        )
        with ssh.open_line(self.endpoint, command=POSIX_SHELL) as line:
            session = _Session(line)
            try:
                line.stdin.write(script)
                line.stdin.flush()
            except OSError as error:
                raise line.why_lost() from error
            failed = True
            try:
                self._expect(session, mark("before"), before)
                yield
                failed = False
            finally:
                with suppress(OSError):
                    line.stdin.close()
                try:
                    self._expect(session, mark("after"), after)
                    settled()
                except ArmoireError:
                    if not failed:
                        raise
                    self.context.note(
                        mark("The command after reading failed: look at the machine."),
                        level="warning",
                    )

    @contextmanager
    def _one_after_the_other(
        self, before: Step | None, after: Step | None, settled: Callable[[], None]
    ) -> Iterator[None]:
        failed = True
        try:
            if before is not None:
                self.run(mark("before"), before, before.windows)
            yield
            failed = False
        finally:
            try:
                replace(self, stoppable=False).run_after(after)
                settled()
            except ArmoireError:
                if not failed:
                    raise
                self.context.note(
                    mark("The command after reading failed: look at the machine."), level="warning"
                )

    def run_after(self, after: Step | None) -> None:
        """Run ``after`` in a session of its own (it was owed by a run that was cut).

        Raises:
            RecipeFailed, MachineError.
        """
        if after is not None:
            body = after.windows if self.system is System.WINDOWS else after.command
            self.run(mark("after"), after, body)

    def _expect(self, session: "_Session", label: str, step: Step | None) -> None:
        code = session.code(label, float(step.timeout_s if step else 60))
        if code is None:
            raise self.failed(label, mark("it took too long"))
        if code:
            raise self.ended_with(label, code, tuple(session.line.stderr))

    def ended_with(self, label: str, exit_code: int, said: tuple[str, ...]) -> RecipeFailed:
        """Return the error for a program's exit code and what it said."""
        text = "\n".join(said[-SAID_LINES:])
        for pattern, meaning in _MEANINGS:
            if re.search(pattern, text):
                return self.failed(label, meaning, text)
        if exit_code in {126, 127} or "is not recognized" in text:
            return self.failed(label, mark("a program is not installed on the machine"), text)
        if exit_code > 128:
            return self.failed(label, mark("the program was stopped"), text)
        return self.failed(label, mark("the program failed"), text)

    def failed(self, label: str, reason: str, said: str = "") -> RecipeFailed:
        """Return the error of this recipe."""
        return RecipeFailed(self.recipe.name, label, reason, said)


class _Session:
    """Reads the lines «armoire before N» and «armoire after N» of a held session."""

    def __init__(self, line: ssh.Line) -> None:
        self.line = line
        self._rest = b""
        self._lines: deque[bytes] = deque()

    def code(self, word: str, timeout_s: float) -> int | None:
        """Return N of «armoire <word> N», or None when it does not come in time.

        Raises:
            ConnectionLost and the like: the session ended without it.
        """
        wanted = re.compile(rb"armoire %s (\d+)" % word.encode("ascii"))
        deadline = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self.line.reading, select.POLLIN)
        while True:
            while self._lines:
                found = wanted.fullmatch(self._lines.popleft())
                if found:
                    return int(found[1])
            if time.monotonic() > deadline:
                return None
            if not poll.poll(500):
                continue
            block = os.read(self.line.reading, 65_536)
            if not block:
                error = self.line.why_lost()
                # A session that ended «well» without having said so was ended by the machine.
                raise error if self.line.child.poll() == 255 else ConnectionLost(self.line.host)
            *lines, self._rest = (self._rest + block).split(b"\n")
            self._rest = self._rest[-1000:]
            self._lines.extend(lines)
