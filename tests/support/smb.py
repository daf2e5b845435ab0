"""A real Samba with the real helper: root only, on a high port of 127.0.0.1, with accounts that go at the end.

The accounts ``armoire-p1`` … are the system's: one test process at a time has them (a file lock).
"""

import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import psutil
import pytest

from appliance.disk.smb_config import ACCOUNT, FIRST_UID
from tests.support.sshd import free_port

START_S = 60.0
#: Whose the files are: an ordinary account, as armoire-web is on a box.
OWNER, GROUP = "nobody", "nogroup"
LOCK = Path("/tmp/armoire-test-smb.lock")
NEEDED = ("smbd", "smbclient", "smbpasswd", "pdbedit", "testparm", "smbcontrol", "useradd")


def why_not() -> str | None:
    """Return why no Samba can be started here, or None."""
    if os.geteuid() != 0:
        return "Samba gives each person an account of the system: root only"
    missing = [each for each in NEEDED if shutil.which(each) is None]
    if not Path("/usr/lib/x86_64-linux-gnu/samba/vfs/fruit.so").exists() and not list(
        Path("/usr/lib").glob("*/samba/vfs/fruit.so")
    ):
        missing.append("samba-vfs-modules")
    return f"not installed: {', '.join(missing)}" if missing else None


@dataclass(frozen=True, slots=True)
class Said:
    """What smbclient said."""

    code: int
    out: str

    @property
    def ok(self) -> bool:
        return self.code == 0 and "NT_STATUS_" not in self.out


class SmbServer:
    """Helper and smbd in a temporary folder. Use as a context manager.

    Args:
        versions: where snapshots are shown, if anywhere.
        before: words before smbd's own command line, as ``ip netns exec …``.
        root: shares lie below it; a folder of its own when None.
        owner: whose the files are.
        group: theirs.
    """

    def __init__(
        self,
        versions: Path | None = None,
        before: tuple[str, ...] = (),
        *,
        root: Path | None = None,
        owner: str = OWNER,
        group: str = GROUP,
    ) -> None:
        reason = why_not()
        if reason is not None:
            pytest.skip(reason)
        self.versions = versions
        self.before = before
        self.folder = Path(tempfile.mkdtemp(prefix="armoire-smb-"))
        self.folder.chmod(0o755)
        self.root = root or self.folder / "root"  # shares lie below it
        self.root.mkdir(exist_ok=True)
        self.owner, self.group = owner, group
        self.passwords: dict[str, str] = {}  # of the accounts, as Samba knows them
        self.run = self.folder / "run"
        self.base = self.folder / "base"
        self.port = free_port()
        self._helper: subprocess.Popen[bytes] | None = None
        self._smbd: subprocess.Popen[bytes] | None = None
        self._lock = None

    def __enter__(self) -> Self:
        self._lock = LOCK.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._remove_accounts()
        self.run.mkdir()
        us = pwd.getpwuid(os.geteuid()).pw_name
        with (self.folder / "helper.log").open("wb") as log:
            self._helper = self._start_helper(us, log)
        self._wait(lambda: (self.run / "helper.sock").is_socket(), "the helper")
        return self

    def _start_helper(self, us: str, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [
                *self.before,
                *(sys.executable, "-m", "appliance.disk.smb_helper"),
                *("--base", str(self.base), "--run", str(self.run)),
                *("--owner", self.owner, "--group", self.group, "--root", str(self.root)),
                *(("--versions", str(self.versions)) if self.versions else ()),
                *("--port", str(self.port), "--peer", us),
                *("--socket", str(self.run / "helper.sock")),
            ],
            stderr=log,
        )

    def start(self) -> None:
        """Start smbd with the configuration the helper wrote."""
        with (self.folder / "smbd.out").open("wb") as log:
            self._smbd = subprocess.Popen(
                [
                    *self.before,
                    *("smbd", "--foreground", "--no-process-group"),
                    f"--configfile={self.base / 'smb.conf'}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # at its end it signals its whole group
                umask=0o027,  # as the unit says
            )
        self._wait((self.run / "smbd.pid").exists, "smbd")
        if not self.before:
            self._wait(self._answers, "smbd")

    def __exit__(self, *_: object) -> None:
        for process in (self._smbd, self._helper):
            if process is None:
                continue
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        child.send_signal(signal.SIGTERM)
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
        self._remove_accounts()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    @property
    def smbd_pids(self) -> list[int]:
        """Return the processes of smbd."""
        assert self._smbd is not None
        parent = psutil.Process(self._smbd.pid)
        return [parent.pid, *(each.pid for each in parent.children(recursive=True))]

    def client(
        self, share: str, user: str, password: str, command: str, *, folder: Path | None = None
    ) -> Said:
        """Run smbclient's ``command`` on a share as ``user``."""
        done = subprocess.run(
            [
                *("smbclient", f"//127.0.0.1/{share}", "-p", str(self.port), "-m", "SMB3"),
                *("-U", f"{user}%{password}", "-c", command),
            ],
            capture_output=True,
            timeout=60,
            cwd=folder or self.folder,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        return Said(done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace"))

    def shares_of(self, user: str, password: str) -> list[str]:
        """Return the shares that a person is shown."""
        done = subprocess.run(
            [
                "smbclient",
                "-g",
                "-L",
                "127.0.0.1",
                "-p",
                str(self.port),
                "-U",
                f"{user}%{password}",
            ],
            capture_output=True,
            timeout=30,
            check=False,
        )
        lines = done.stdout.decode().splitlines()
        return sorted(each.split("|")[1] for each in lines if each.startswith("Disk|"))

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 10):
            return True
        return False

    def _wait(self, is_there, what: str) -> None:
        end = time.monotonic() + START_S
        while not is_there():
            if time.monotonic() > end:
                logs = "\n".join(
                    each.read_text(errors="replace")
                    for each in (self.folder / "helper.log", self.folder / "smbd.out")
                    if each.exists()
                )
                raise RuntimeError(f"{what} did not start: {logs}")
            time.sleep(0.05)

    def _remove_accounts(self) -> None:
        for each in pwd.getpwall():
            if each.pw_name.startswith(ACCOUNT) and FIRST_UID < each.pw_uid < FIRST_UID + 1_900:
                subprocess.run(["userdel", each.pw_name], capture_output=True, check=False)
