"""The command line as a program sees it: ``armoire …`` in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROGRAM = (sys.executable, "-m", "appliance.cli")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def body(self) -> dict:
        """The one JSON object on standard output."""
        assert self.out.count(b"\n") == 1, self.out
        return json.loads(self.out)


class Armoire:
    """Runs commands on one data folder, in English unless told otherwise."""

    def __init__(self, data: Path, **environment: str) -> None:
        self.data = data
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(data.parent),
            "ARMOIRE_DATA": str(data),
            "ARMOIRE_LISTEN_ADDRESS": "127.0.0.1",  # tests are for this machine alone
            "ARMOIRE_LANG": "en",
            "ARMOIRE_FREE_BYTES_FLOOR": "1000000",
            "ARMOIRE_CHECK_SECONDS": "5",
            **environment,
        }

    def __call__(self, *argv: object, stdin: str = "", timeout_s: float = 120) -> Ran:
        done = subprocess.run(
            [*PROGRAM, *map(str, argv)], env=self.environment, input=stdin.encode(),
            capture_output=True, check=False, timeout=timeout_s, cwd=ROOT,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr.decode())

    def json(self, *argv: object, code: int = 0, stdin: str = "") -> dict:
        """The answer of a command that ends with ``code``."""
        ran = self(*argv, "--json", stdin=stdin)
        assert ran.code == code, (ran.code, ran.out, ran.err)
        return ran.body

    def start(self, *argv: object) -> subprocess.Popen:
        """Start a command that goes on; end it with ``end``."""
        return subprocess.Popen(
            [*PROGRAM, *map(str, argv)], env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, start_new_session=True,
            # Somebody may run the tests in the background, where Ctrl-C is ignored by inheritance.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip


def end(process: subprocess.Popen, number: int = signal.SIGTERM, timeout_s: float = 60) -> int:
    """Signal a command and return its exit code; kill what does not end."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        code = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    return code


def until(condition, timeout_s: float = 60, every_s: float = 0.1) -> None:
    """Wait until ``condition()`` holds."""
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "it took too long"
        time.sleep(every_s)
