"""What the process that reads strangers' files can still do: compute. The kernel is asked, not our own code."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from appliance.disk.preview.protocol import Do
from appliance.settings import Settings
from tests.support.armoire import until
from tests.support.preview import PreviewProcess

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
#: Runs ``attempt`` locked in, and writes «refused», «done» or the error's name.
LOCKED_IN = """
import ctypes, mmap, os, signal, socket, sys, threading
from appliance.disk.preview import sandbox
parent = os.getppid()
pipe = os.dup(1)
sandbox.enter({pipe}, cpu_s=1)
for code in sys.argv[1:]:
    try:
        exec(code)
        said = "done"
    except PermissionError:
        said = "refused"
    except MemoryError:
        said = "no memory"
    except BaseException as error:
        said = type(error).__name__
    os.write(pipe, (said + "\\n").encode())
os._exit(0)
"""
FORBIDDEN = (
    "os.open('/etc/passwd', os.O_RDONLY)",
    "os.open('/dev/null', os.O_WRONLY)",
    "os.open('/tmp/armoire-was-here', os.O_CREAT | os.O_WRONLY)",
    "os.listdir('/')",
    "os.unlink('/tmp/armoire-was-here')",
    "os.readlink('/proc/self/exe')",
    "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
    "socket.socketpair()",
    "os.fork()",
    "os.execv('/bin/sh', ['sh', '-c', 'exit 0'])",
    "os.kill(parent, 0)",
    "os.kill(os.getpid(), signal.SIGTERM)",
    "os.pipe()",
    "os.setuid(0)",
    "os.chroot('/')",
    "os.memfd_create('x')",
    "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)",
)


def attempt(*codes: str) -> subprocess.CompletedProcess[str]:
    """Try each locked in; a line of the answer for each."""
    return subprocess.run(
        [sys.executable, "-c", LOCKED_IN, *codes],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_nothing_but_computing_is_left():
    """Neither files nor network nor other programs; without the lock, most of it would be allowed."""
    said = dict(zip(FORBIDDEN, attempt(*FORBIDDEN).stdout.split("\n"), strict=False))
    assert said == dict.fromkeys(FORBIDDEN, "refused")


def test_a_thread_may_be_started_and_is_locked_in_as_well():
    """The decoder of HEIC needs one; it is no way out."""
    said = attempt(
        "t = threading.Thread(target=lambda: found.append(1)); found = []; t.start(); t.join()",
        "assert found == [1]",
        "found.clear(); t = threading.Thread(target=lambda: found.append(reach())); "
        "reach = lambda: os.open('/etc/passwd', 0); threading.excepthook = "
        "lambda each: found.append(each.exc_type.__name__); t.start(); t.join()",
        "assert found == ['PermissionError']",
    ).stdout
    assert said == "done\n" * 4


def test_computing_still_works():
    """Else the others would prove nothing."""
    assert attempt("assert sum(range(1000)) == 499500; bytearray(100 << 20)").stdout == "done\n"


def test_memory_has_an_end():
    """512 MiB beyond the libraries."""
    assert attempt("bytearray(600 << 20)").stdout == "no memory\n"


def test_an_endless_loop_is_ended():
    """By the processor's time; sleeping is ended by the clock, which the server keeps."""
    before = time.monotonic()
    done = attempt("while True: pass")
    assert done.returncode < 0
    assert time.monotonic() - before < 30


def test_a_preview_process_is_ended_and_started_without_losing_anything(tmp_path):
    """It takes its socket along, and a second one takes the first's place."""
    settings = Settings(data=tmp_path / "data")
    note = tmp_path / "a.txt"
    note.write_text("words")
    with PreviewProcess(settings) as first:
        assert first.ask(note, Do.TEXT).values()["text"] == "words"
        settings.preview_socket.unlink()
        with PreviewProcess(Settings(data=settings.data)) as second:
            assert second.ask(note, Do.TEXT).values()["text"] == "words"
            assert first.process.wait(timeout=20) == 0
    assert not settings.preview_socket.exists()


def test_after_quiet_minutes_it_is_small_again_and_still_answers(tmp_path):
    """The same process and the same socket; nobody who asks meanwhile is turned away."""
    settings = Settings(data=tmp_path / "data")
    note = tmp_path / "a.txt"
    note.write_text("words")
    with PreviewProcess(settings, "--idle", "0.2") as preview:
        asked = preview.ask(note, Do.TEXT).values()
        large = psutil.Process(preview.process.pid).memory_info().rss
        until(lambda: "decoders are given back" in preview.log)
        until(lambda: psutil.Process(preview.process.pid).memory_info().rss < large / 2)
        assert preview.ask(note, Do.TEXT).values() == asked
        assert preview.process.poll() is None
