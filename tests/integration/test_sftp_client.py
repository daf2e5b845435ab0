"""The client that does one thing at a time, against a real OpenSSH server."""

import os
import stat
from pathlib import Path

import pytest

from appliance.backup_jobs import sftp, ssh
from appliance.backup_jobs.sftp import SftpRefused
from appliance.errors import ConnectionLost, JobCancelled, MachineUnreachable, ToolTimeout
from tests.support.delay import DelayProxy
from tests.support.engine import endpoint_of
from tests.support.sshd import free_port

pytestmark = pytest.mark.integration


@pytest.fixture
def place(tmp_path) -> bytes:
    (tmp_path / "there").mkdir()
    return os.fsencode(tmp_path / "there")


@pytest.fixture
def client(sshd):
    with sftp.connect(endpoint_of(sshd)) as opened:
        yield opened


def test_a_file_goes_there_and_back_with_mode_and_times(client, place):
    """Whole, under its name only when it is whole, nothing left beside it."""
    data = os.urandom(1_500_000)
    path = place + b"/lettre \xe9.pdf"
    blocks = (data[at : at + 100_000] for at in range(0, len(data), 100_000))
    assert client.write_file(path, blocks, mode=0o640, times=(5, 1_700_000_000)) == len(data)
    status = os.stat(path)
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o640, 1_700_000_000)
    assert b"".join(client.read_file(path)) == data
    assert b"".join(client.read_file(path, offset=1_400_000)) == data[1_400_000:]
    assert os.listdir(place) == [b"lettre \xe9.pdf"]
    assert client.lstat(path).size == len(data)


def test_nothing_is_overwritten_without_a_yes(client, place):
    """Refused before anything is sent; with a yes it is replaced in one step."""
    path = place + b"/a"
    client.write_file(path, [b"first"])
    with pytest.raises(SftpRefused):
        client.write_file(path, [b"second"])
    assert b"".join(client.read_file(path)) == b"first"
    client.write_file(path, [b"second"], replace=True)
    assert b"".join(client.read_file(path)) == b"second"
    assert os.listdir(place) == [b"a"]


def test_a_write_that_fails_in_the_middle_leaves_nothing(client, place):
    """Neither half a file under the name nor a draft beside it."""

    def blocks():
        yield b"x" * 100_000
        raise JobCancelled

    with pytest.raises(JobCancelled):
        client.write_file(place + b"/a", blocks())
    assert os.listdir(place) == []


def test_folders_links_and_what_is_not_there(client, place):
    """Every small request has its answer, a refusal says which."""
    client.make_folder(place + b"/folder", 0o750)
    client.make_link(place + b"/link", b"folder")
    assert client.read_link(place + b"/link") == b"folder"
    assert client.is_folder(place + b"/folder")
    assert not client.is_folder(place + b"/link")
    assert client.stat(place + b"/link").is_folder
    assert {name for name, _ in client.list_folder(place)} == {b"folder", b"link"}
    assert client.real_path(place + b"/link") == place + b"/folder"
    with pytest.raises(SftpRefused) as raised:
        client.stat(place + b"/nothing")
    assert raised.value.is_missing
    assert "nothing" not in str(raised.value)
    assert not client.exists(place + b"/nothing")
    client.rename(place + b"/folder", place + b"/other")
    client.remove(place + b"/link")
    client.remove_folder(place + b"/other")
    assert os.listdir(place) == []


def test_the_room_on_the_disk_is_what_the_disk_says(client, place):
    """Total exactly, free roughly: others write too."""
    found, real = client.space(place), os.statvfs(place)
    assert found is not None
    assert found.total_bytes == real.f_blocks * real.f_frsize
    assert abs(found.free_bytes - real.f_bavail * real.f_frsize) < 5 * 10**9


def test_reading_may_be_left_in_the_middle(client, place):
    """The next request is answered, and no room stays taken."""
    path = place + b"/a"
    Path(os.fsdecode(path)).write_bytes(os.urandom(20_000_000))
    reading = client.read_file(path)
    next(reading)
    reading.close()
    assert client.pipeline.used_bytes == 0
    assert client.lstat(path).size == 20_000_000


def test_a_cut_line_is_said_as_such(sshd, place):
    """In the middle of anything."""
    with DelayProxy(sshd.port, rtt_ms=0.2) as line:
        with sftp.connect(endpoint_of(sshd, port=line.port)) as client:
            line.cut()
            with pytest.raises(ConnectionLost):
                client.lstat(place)


def test_a_host_key_is_shown_with_its_fingerprint(sshd):
    """What a person confirms is what will be pinned; nothing there is said as such."""
    key, shown = ssh.probe_host_key("127.0.0.1", sshd.port)
    assert key == sshd.host_key
    assert shown == ssh.fingerprint(sshd.host_key)
    with pytest.raises(MachineUnreachable):
        ssh.probe_host_key("127.0.0.1", free_port(), timeout_s=2)


def test_a_command_streams_its_output_and_tells_how_it_ended(sshd):
    """Output in blocks, input through the line, the exit code, the last words."""
    point = endpoint_of(sshd)
    blocks: list[bytes] = []
    result = ssh.run_command(
        point,
        "cat; head -c 700000 /dev/zero; echo no >&2; exit 4",
        on_block=blocks.append,
        stdin=b"in",
    )
    assert b"".join(blocks) == b"in" + bytes(700_000)
    assert (result.exit_code, result.stderr_tail) == (4, ("no",))


def test_a_command_can_be_stopped_and_times_out(sshd):
    """And its line is ended with it."""
    point = endpoint_of(sshd)
    with pytest.raises(JobCancelled):
        ssh.run_command(point, "sleep 60", on_block=lambda _block: None, should_stop=lambda: True)
    with pytest.raises(ToolTimeout):
        ssh.run_command(point, "sleep 60", on_block=lambda _block: None, timeout_s=0.5)
