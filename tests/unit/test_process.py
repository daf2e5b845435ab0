"""Programs are run without a shell, with a closed environment, and always ended."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from appliance import process
from appliance.errors import JobCancelled, ToolMissing, ToolTimeout
from appliance.vault.secret import Secret
from appliance.vault.secret_file import secret_file
from tests.support.armoire import until


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_environment_of_the_box_is_not_inherited(monkeypatch):
    """A secret in our own environment never reaches a child."""
    monkeypatch.setenv("BORG_PASSPHRASE", "ours")

    done = process.run(python("import os; print(sorted(os.environ))"), timeout_s=20)

    assert "BORG_PASSPHRASE" not in done.stdout
    assert "LC_ALL" in done.stdout


def test_a_passphrase_goes_down_a_pipe_and_is_in_no_process_list():
    """The child can read it once; its command line and environment do not hold it."""
    code = (
        "import os; fd=int(os.environ['BORG_PASSPHRASE_FD']); "
        "print(os.read(fd, 99).decode(), 'ses'+'ame' in open('/proc/self/cmdline').read(), "
        "'ses'+'ame' in open('/proc/self/environ').read())"
    )

    done = process.run(python(code), timeout_s=20, passphrase=Secret(b"sesame"))

    assert done.stdout == "sesame False False"


def test_a_missing_program_is_named():
    with pytest.raises(ToolMissing) as raised:
        process.run(["no-such-program-here"], timeout_s=1)

    assert raised.value.program == "no-such-program-here"


def test_a_program_that_could_not_be_started_did_not_answer_127(tmp_path):
    """Borg's 127 is a warning; a start refused by the system is none (it was, in a unit that forbade capset)."""
    broken = tmp_path / "broken"
    broken.write_text("#!/nonexistent/interpreter\n")
    broken.chmod(0o755)

    with pytest.raises(ToolMissing):
        process.run([str(broken)], timeout_s=20)


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path):
    """The whole group goes, and the time is told."""
    pid_file = tmp_path / "pid"
    code = f"sleep 60 & echo $! > {pid_file}; wait"  # begins at once, on a slow machine too

    with pytest.raises(ToolTimeout):
        process.run(["/bin/sh", "-c", code], timeout_s=3)

    grandchild = int(pid_file.read_text())
    until(lambda: not is_alive(grandchild))


def test_a_person_can_stop_it():
    started = time.monotonic()

    with pytest.raises(JobCancelled):
        process.run(python("import time; time.sleep(60)"), timeout_s=60, should_stop=lambda: True)

    assert time.monotonic() - started < 50


def test_a_sink_that_fails_does_not_block_the_child():
    """More than a pipe's worth of lines goes on although every sink call raises."""

    def fails(_line: str) -> None:
        raise ValueError

    done = process.run(
        python("import sys\nfor i in range(20000): print('x' * 50, file=sys.stderr)"),
        timeout_s=30,
        on_stderr=fails,
    )

    assert done.exit_code == 0
    assert len(done.stderr_tail) == process.TAIL_LINES


def test_bytes_that_are_not_utf_8_do_not_stop_the_reading():
    done = process.run(python(r"import os; os.write(1, b'a\xffb\n')"), timeout_s=20)

    assert done.stdout == r"a\xffb"


def test_no_input_means_an_empty_one_and_given_input_arrives():
    assert process.run(python("print(repr(input()))"), timeout_s=20).exit_code == 1
    assert process.run(["cat"], timeout_s=20, stdin=b"hello\n").stdout == "hello"


def test_a_secret_file_is_private_and_never_on_a_disk():
    """Another program of this user can read it by its path; no name in any folder leads to it."""
    with secret_file(Secret(b"key\n")) as path:
        assert process.run(["cat", path], timeout_s=20).stdout == "key"
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert os.stat(path).st_nlink == 0


def test_pipes_are_ended_when_left():
    with process.pipes(["cat"]) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"ping")
        assert running.stdout.read(4) == b"ping"
    assert running.poll() is not None


def test_a_program_ends_when_the_process_that_runs_it_is_killed(tmp_path):
    """A job killed with -9 leaves no Borg behind that goes on writing."""
    pid_file = tmp_path / "pid"
    child = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = (
        "import sys; from appliance import process; "
        f"process.run([sys.executable, '-c', {child!r}], timeout_s=60)"
    )
    job = subprocess.Popen(python(code), cwd=Path(__file__).parents[2])
    until(lambda: pid_file.exists() and pid_file.read_text())
    pid = int(pid_file.read_text())

    job.kill()
    job.wait()

    until(lambda: not is_alive(pid))
