"""Throw-away PostgreSQL and MariaDB servers: real ones, in a temporary folder, on a free port.

As root they run as the users their packages made (``postgres``, ``mysql``): both refuse root.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.support.sshd import end_processes, free_port, processes_under

START_S = 60.0


class _Server:
    """What both have in common: a folder, a process, an end."""

    account: str

    def __init__(self, name: str) -> None:
        # Not under pytest's folder: that one is 0700 and root's, and the server is another user.
        self.folder = Path(tempfile.mkdtemp(prefix=f"armoire-{name}-"))
        self.host = "127.0.0.1"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, object] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam(self.account)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._as = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    @property
    def process_user(self) -> str:
        """The system user the server runs as."""
        return self.account if self._as else pwd.getpwuid(os.geteuid()).pw_name

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def _prepare(self, argv: list[str]) -> None:
        done = subprocess.run(
            argv,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            **self._as,
        )
        if done.returncode:
            raise RuntimeError(f"{argv[0]}: {(done.stdout + done.stderr).decode(errors='replace')}")

    def _launch(self, argv: list[str]) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                argv,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as,
            )
        end = time.monotonic() + START_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{argv[0]} did not start: {self.log}")
            time.sleep(0.05)

    def _ready(self) -> bool:
        raise NotImplementedError

    def kill(self) -> None:
        """End it as a power cut would: its files stay."""
        if self._process is not None:
            everybody = processes_under(self._process)
            self._process.kill()
            self._process.wait()
            end_processes(everybody)
            self._process = None

    def stop(self) -> None:
        """End it and remove its folder."""
        if self._process is not None:
            self._process.send_signal(self._end)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    _end = signal.SIGTERM

    def start(self) -> Self:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()


class PostgresCluster(_Server):
    """A PostgreSQL cluster. ``socket_folder`` (for ``-h``) or ``host`` and ``port``; superuser «postgres».

    Everybody is trusted, unless ``passwords``: then TCP asks for one (scram-sha-256).
    """

    account = "postgres"
    superuser = "postgres"
    _end = signal.SIGINT  # «fast» shutdown

    def __init__(self, *, passwords: bool = False) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            raise RuntimeError("PostgreSQL is not installed (apt-get install postgresql)")
        self.programs = found[-1].parent
        super().__init__("pg")
        self._passwords = passwords

    @property
    def socket_folder(self) -> Path:
        return self.folder

    @property
    def data_folder(self) -> Path:
        """Its live database folder, of which a raw copy is worth nothing."""
        return self.folder / "data"

    def start(self) -> Self:
        """Make the cluster the first time, then start it."""
        if not self.data_folder.exists():
            self._prepare(
                [str(self.programs / "initdb"), "--no-sync", "-U", self.superuser, "-A", "trust",
                 *(["--auth-host=scram-sha-256"] if self._passwords else []),
                 "-E", "UTF8", "--locale=C.UTF-8", "-D", str(self.data_folder)]
            )  # fmt: skip
        self.port = self.port or free_port()
        settings = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "max_connections": 20,
            "shared_buffers": "16MB",
            "autovacuum": "off",
        }
        self._launch(
            [str(self.programs / "postgres"), "-D", str(self.data_folder)]
            + [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        )
        return self

    def _ready(self) -> bool:
        return not subprocess.run(
            [self.programs / "pg_isready", "-q", "-h", self.folder, "-p", str(self.port)],
            check=False,
        ).returncode

    def execute(self, sql: str, database: str = "postgres") -> None:
        """Run statements as the superuser; raise with what the server said when one fails."""
        self._psql(sql, database)

    def query(self, sql: str, database: str = "postgres") -> list[tuple[str, ...]]:
        """Rows as text, NULL as an empty one."""
        return [tuple(row.split("\t")) for row in self._psql(sql, database).splitlines()]

    def create_database(self, name: str) -> None:
        self.execute(f'CREATE DATABASE "{name}"')

    def _psql(self, sql: str, database: str) -> str:
        done = subprocess.run(
            [self.programs / "psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1",
             "-h", self.folder, "-p", str(self.port), "-U", self.superuser, "-d", database, "-f", "-"],
            input=sql, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout


class MariadbServer(_Server):
    """A MariaDB server. ``socket`` or ``host`` and ``port``; superuser «root» without a password."""

    account = "mysql"
    superuser = "root"

    def __init__(self) -> None:
        for program in ("mariadbd", "mariadb-install-db", "mariadb"):
            if shutil.which(program, path="/usr/sbin:" + os.environ["PATH"]) is None:
                raise RuntimeError(f"{program} is not installed (apt-get install mariadb-server)")
        super().__init__("maria")

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    @property
    def data_folder(self) -> Path:
        """Its live database folder, of which a raw copy is worth nothing."""
        return self.folder / "data"

    def start(self) -> Self:
        """Make the system tables the first time, then start it."""
        if not self.data_folder.exists():
            self._prepare(
                ["mariadb-install-db", "--no-defaults", f"--datadir={self.data_folder}", "--skip-test-db",
                 "--auth-root-authentication-method=normal", "--innodb-flush-log-at-trx-commit=0",
                 "--innodb-log-file-size=4M", f"--tmpdir={self.folder}"]  # two at once share nothing
            )  # fmt: skip
        self.port = self.port or free_port()
        program = shutil.which("mariadbd", path="/usr/sbin:" + os.environ["PATH"])
        self._launch(
            [program, "--no-defaults", f"--datadir={self.data_folder}", f"--socket={self.socket}",
             f"--port={self.port}", f"--bind-address={self.host}", f"--pid-file={self.folder / 'pid'}",
             f"--tmpdir={self.folder}",
             "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=4M",
             "--innodb-buffer-pool-size=16M", "--skip-name-resolve", "--performance-schema=0"]
        )  # fmt: skip
        return self

    def _ready(self) -> bool:
        return not self._client("SELECT 1", None).returncode

    def execute(self, sql: str, database: str | None = None) -> None:
        """Run statements as root; raise with what the server said when one fails."""
        self.query(sql, database)

    def query(self, sql: str, database: str | None = None) -> list[tuple[str, ...]]:
        """Rows as text, NULL as «NULL»."""
        done = self._client(sql, database)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return [tuple(row.split("\t")) for row in done.stdout.splitlines()]

    def create_database(self, name: str) -> None:
        self.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")

    def _client(self, sql: str, database: str | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["mariadb", "--no-defaults", "-N", "-B", "--default-character-set=utf8mb4", "-u", "root",
             "-S", str(self.socket), *([database] if database else [])],
            input=sql, capture_output=True, text=True, check=False,
        )  # fmt: skip
