"""A real OpenSSH server on 127.0.0.1 that a test owns: its keys, its users' keys, its end.

Works as root and as an ordinary user; it then only lets that same user in, which is enough.
"""

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

START_S = 60.0
_LOWEST, _MOST = 20_000, 12_000  # the kernel chooses from 32768 on
_PORTS = (_LOWEST + step % _MOST for step in itertools.count(os.getpid() * 97))


class SshServer:
    """`sshd` in a temporary folder. Use as a context manager, or ``start`` and ``stop``.

    Args:
        sftp: what answers the «sftp» subsystem: ``internal-sftp``, or a command line (an own or a
            faulty server). None: the server offers no SFTP.
        config: more lines for ``sshd_config``, before everything else (OpenSSH takes the first).
        folder: where its files go; a temporary one, removed by ``stop``, when None.
    """

    def __init__(
        self,
        *,
        sftp: str | None = "internal-sftp",
        config: str = "",
        folder: Path | None = None,
    ) -> None:
        program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:" + os.environ["PATH"])
        if program is None:
            raise RuntimeError("sshd is not installed (apt-get install openssh-server)")
        self._program = program
        self._owned = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="armoire-sshd-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sftp = sftp
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self.host = "127.0.0.1"
        self.port = 0
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self._authorized = self.folder / "authorized_keys"
        self._authorized.touch(mode=0o600)
        self._key = self.folder / "host_key"
        if not self._key.exists():
            self._make_host_key()

    # --- what a test asks ------------------------------------------------------------------

    @property
    def host_key(self) -> str:
        """«ssh-ed25519 AAAA…», as ``Source.host_key`` pins it."""
        kind, blob = self._key.with_suffix(".pub").read_text("ascii").split()[:2]
        return f"{kind} {blob}"

    @property
    def log(self) -> str:
        """What the server wrote (LogLevel VERBOSE)."""
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def authorize(
        self, public_key: str, forced_command: str | None = None, options: str = ""
    ) -> None:
        """Let ``public_key`` («ssh-ed25519 AAAA…») in; a forced command is then all it can run."""
        given = [options] if options else []
        if forced_command is not None:
            escaped = forced_command.replace('"', '\\"')
            given += ["restrict", f'command="{escaped}"']
        with self._authorized.open("a", encoding="utf-8") as file:
            file.write(" ".join([*([",".join(given)] if given else []), public_key.strip()]) + "\n")

    def revoke_all(self) -> None:
        """Let no key in any more; sessions that are open stay open."""
        self._authorized.write_text("")

    def replace_host_key(self) -> None:
        """Restart with another host key at the same port, as a reinstalled machine does."""
        self.stop_process()
        self._make_host_key()
        self.start()

    def sessions(self) -> list[psutil.Process]:
        """Every process under the server."""
        return [] if self._process is None else processes_under(self._process)

    def cut_sessions(self) -> None:
        """Kill every open session: the line is cut, the server goes on."""
        end_processes(self.sessions())

    # --- its life --------------------------------------------------------------------------

    def start(self) -> Self:
        """Start at the same port as before, or at a free one."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # its privilege separation wants it
        if not self.port:
            self.port = free_port()
        config = self.folder / "sshd_config"
        config.write_text(
            f"{self._config}\n"
            f"Port {self.port}\n"
            f"ListenAddress {self.host}\n"
            f"HostKey {self._key}\n"
            f"PidFile {self.folder / 'pid'}\n"
            f"AuthorizedKeysFile {self._authorized}\n"
            "StrictModes no\nUsePAM no\nUseDNS no\nPrintMotd no\nPrintLastLog no\n"
            "PubkeyAuthentication yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin yes\nMaxStartups 100\nMaxSessions 100\nLogLevel VERBOSE\n"
            + (f"Subsystem sftp {self._sftp}\n" if self._sftp else ""),
            "utf-8",
        )
        self._process = subprocess.Popen(
            [self._program, "-D", "-f", str(config), "-E", str(self.folder / "log")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for_port(self.host, self.port, self._process, lambda: self.log)
        return self

    def stop_process(self) -> None:
        """End the server and its sessions; its files stay for another ``start``."""
        if self._process is None:
            return
        sessions = self.sessions()  # asked first: they leave their parent when it ends
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        end_processes(sessions)
        self._process = None

    def stop(self) -> None:
        """End the server and its sessions and remove its files."""
        self.stop_process()
        if self._owned:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _make_host_key(self) -> None:
        for path in (self._key, self._key.with_suffix(".pub")):
            path.unlink(missing_ok=True)
        make_key(self._key)


def make_key(path: Path) -> str:
    """Make an ed25519 key pair at ``path`` and ``path.pub``; return the public half as one line."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return path.with_suffix(".pub").read_text("ascii").strip()


def free_port() -> int:
    """A port nobody has, and nobody is given before it is bound.

    Not one of the kernel's own choice: that may be the source of another test's connection a moment later.
    Each process of tests walks on from a place of its own, below where the kernel chooses.
    """
    for port in _PORTS:
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port
    raise AssertionError("without end")


def wait_for_port(host: str, port: int, process: subprocess.Popen[bytes], log=lambda: "") -> None:
    """Return once something listens; raise with the program's log when it ended or is too slow."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}: {log()}")
        with suppress(OSError), socket.create_connection((host, port), timeout=10):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}: {log()}")


def processes_under(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Its children and theirs; ask before it ends, they leave it then."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def end_processes(processes: list[psutil.Process]) -> None:
    """Kill these and wait until they are gone."""
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(processes, timeout=30)
