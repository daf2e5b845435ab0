"""The real servers of the demonstration: OpenSSH and PostgreSQL, on 127.0.0.1, with their own files.

They end with the process that started them, however it ends: the kernel tells them (setpriv(1)).
"""

import os
import pwd
import signal
import socket
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import psutil

from appliance.errors import ToolMissing, ToolTimeout
from appliance.process import PATH, Process, end_group, run, start
from appliance.worker.seen import answers

HOST: Final = "127.0.0.1"
START_S: Final = 60.0
POSTGRES_USER: Final = "postgres"


def find_program(name: str, folders: Sequence[str] = tuple(PATH.split(":"))) -> str:
    """Return where a program is.

    Raises:
        ToolMissing: it is not installed.
    """
    for folder in folders:
        path = Path(folder) / name
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    raise ToolMissing(name)


def free_port() -> int:
    """Return a port of 127.0.0.1 nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def end_stale(marker: str) -> None:
    """End what an earlier demonstration left running: processes of ours whose arguments hold ``marker``."""
    me = psutil.Process()
    above = {me.pid, *(each.pid for each in me.parents())}
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid not in above and any(marker in part for part in process.cmdline()):
                left += [process, *process.children(recursive=True)]
    for process in left:
        with suppress(psutil.Error):
            process.terminate()
    _gone, alive = psutil.wait_procs(left, timeout=5)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()


class SshServer:
    """One machine's OpenSSH server: lets only the current user in, with keys it was given.

    With ``only_files`` it is a host of copies: OpenSSH's own SFTP and nothing else, no shell, no forwarding.
    """

    def __init__(self, folder: Path, port: int, *, only_files: bool = False) -> None:
        self.folder = folder
        self._only_files = only_files
        self.port = port
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self._key = folder / "host_key"
        self._config = folder / "sshd_config"
        self._authorized = folder / "authorized_keys"
        self._process: Process | None = None

    @property
    def host_key(self) -> str:
        """«ssh-ed25519 AAAA…», as ``Source.host_key`` pins it."""
        kind, blob = self._key.with_suffix(".pub").read_text("ascii").split()[:2]
        return f"{kind} {blob}"

    def authorize(self, line: str) -> None:
        """Let the key of a line of ``authorized_keys`` in, once."""
        known = self._authorized.read_text("utf-8") if self._authorized.exists() else ""
        if line not in known.splitlines():
            with self._authorized.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def start(self) -> Self:
        """Start, at another port when somebody has taken ours."""
        program = find_program("sshd")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._key.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", str(self._key)],
                timeout_s=30)  # fmt: skip
        self._authorized.touch(mode=0o600)
        end_stale(str(self._config))
        if answers(HOST, self.port):
            self.port = free_port()
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # its privilege separation wants it
        self._config.write_text(self._configuration(), "utf-8")
        with (self.folder / "log").open("ab") as log:
            self._process = start(
                [*_dying_with_us(), program, "-D", "-e", "-f", str(self._config)], log=log
            )
        _wait(self._process, HOST, self.port, "sshd")
        return self

    def stop(self) -> None:
        """End the server and its sessions."""
        if self._process is None:
            return
        with suppress(psutil.Error):
            sessions = psutil.Process(self._process.pid).children(recursive=True)
            self._process.terminate()
            with suppress(Exception):
                self._process.wait(5)
            for each in sessions:
                with suppress(psutil.Error):
                    each.kill()
        end_group(self._process, grace_s=1.0)
        self._process = None

    def _configuration(self) -> str:
        only_files = "ForceCommand internal-sftp\nPermitTTY no\nDisableForwarding yes\n"
        return (
            f"{only_files if self._only_files else ''}"
            f"Port {self.port}\nListenAddress {HOST}\nHostKey {self._key}\n"
            f"PidFile {self.folder / 'pid'}\nAuthorizedKeysFile {self._authorized}\n"
            # Its files lie in a folder that belongs to the practice, not in a home.
            f"StrictModes no\nUsePAM {'yes' if _is_locked(self.user) else 'no'}\nUseDNS no\n"
            "PrintMotd no\nPrintLastLog no\nPubkeyAuthentication yes\nPasswordAuthentication no\n"
            f"KbdInteractiveAuthentication no\nPermitRootLogin yes\nAllowUsers {self.user}\n"
            "Subsystem sftp internal-sftp\n"
        )


def _is_locked(user: str) -> bool:
    """Return whether the account has no password: OpenSSH then asks PAM, or lets nobody in.

    Source: sshd(8), «LOGIN PROCESS»; only root can see it, and only then it is asked.
    """
    if os.geteuid() != 0:
        return False
    try:
        lines = Path("/etc/shadow").read_text("utf-8").splitlines()
    except OSError:
        return False
    return any(line.startswith(f"{user}:!") for line in lines)


class PostgresServer:
    """The practice software's database. As root it runs as the user its package made: it refuses root."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not found:
            raise ToolMissing("postgres")
        self._programs = found[-1].parent
        self._process: Process | None = None
        self._as: tuple[str, ...] = ()
        if os.geteuid() == 0:
            self._as = (f"--reuid={POSTGRES_USER}", f"--regid={POSTGRES_USER}", "--clear-groups")

    @property
    def superuser(self) -> str:
        """The account of PostgreSQL that may do everything; no password is asked on 127.0.0.1."""
        return POSTGRES_USER

    @property
    def data(self) -> Path:
        """The cluster."""
        return self.folder / "data"

    def can_reach(self) -> bool:
        """Return whether PostgreSQL's user may come to the folder at all (a clone in /root: no)."""
        if not self._as:
            return True
        above = [each for each in self.folder.absolute().parents if each.exists()]
        return all(each.stat().st_mode & stat.S_IXOTH for each in above)

    def start(self) -> Self:
        """Make the cluster the first time, then start it; at another port when ours is taken."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._as:
            account = pwd.getpwnam(POSTGRES_USER)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        end_stale(str(self.data))
        if not (self.data / "PG_VERSION").exists():
            self._prepare(
                [str(self._programs / "initdb"), "-U", self.superuser, "-A", "trust", "-E", "UTF8",
                 "--locale=C.UTF-8", "-D", str(self.data)]
            )  # fmt: skip
        if answers(HOST, self.port):
            self.port = free_port()
        settings = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 20,
            "shared_buffers": "16MB",
        }
        with (self.folder / "log").open("ab") as log:
            self._process = start(
                [*_dying_with_us(*self._as), str(self._programs / "postgres"), "-D", str(self.data)]
                + [part for name, value in settings.items() for part in ("-c", f"{name}={value}")],
                log=log,
            )
        _wait(self._process, HOST, self.port, "postgres")
        deadline = time.monotonic() + START_S
        while run(self._client("pg_isready"), timeout_s=30).exit_code:
            if time.monotonic() > deadline:
                raise ToolTimeout("postgres", START_S)
            time.sleep(0.1)
        return self

    def stop(self) -> None:
        """End it as its manual says: «fast» shutdown, nothing is lost. Source: postgres(1), SIGINT."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)
            with suppress(Exception):
                self._process.wait(20)
            end_group(self._process, grace_s=1.0)
            self._process = None

    def execute(self, sql: str, database: str = "postgres") -> None:
        """Run statements as the superuser.

        Raises:
            ToolMissing: the client is not installed.
            RuntimeError: a statement failed; the text is the server's.
        """
        argv = [*self._client("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", self.superuser,
                "-d", database, "-f", "-"]  # fmt: skip
        done = run(argv, timeout_s=600, stdin=sql.encode())
        if done.exit_code:
            raise RuntimeError("\n".join(done.stderr_tail[-5:]))

    def _client(self, program: str) -> list[str]:
        return [str(self._programs / program), "-h", HOST, "-p", str(self.port)]

    def _prepare(self, argv: Sequence[str]) -> None:
        done = run([*_dying_with_us(*self._as), *argv], timeout_s=300, cwd=str(self.folder))
        if done.exit_code:
            raise RuntimeError("\n".join(done.stderr_tail[-5:]))


def _dying_with_us(*options: str) -> list[str]:
    return [find_program("setpriv"), *options, "--pdeathsig=TERM", "--"]


def _wait(process: Process, host: str, port: int, program: str) -> None:
    deadline = time.monotonic() + START_S
    while not answers(host, port):
        if process.poll() is not None:
            raise RuntimeError(f"{program} ended with exit code {process.returncode}")
        if time.monotonic() > deadline:
            end_group(process, grace_s=1.0)
            raise ToolTimeout(program, START_S)
        time.sleep(0.05)
