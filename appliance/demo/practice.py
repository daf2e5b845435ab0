"""The demonstration practice: two machines with real OpenSSH servers, a database, a share.

Everything lies under one folder and is made once; a later start goes on with what is there.
"""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from appliance.demo.servers import HOST, PostgresServer, SshServer, free_port
from appliance.errors import ToolMissing
from appliance.model import RecipeUse

SEED: Final = 20261123
PATIENTS: Final = 270
DATABASE: Final = "cabinet"
STATE: Final = "practice.json"
HOST_OF_COPIES: Final = "hebergeur"

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class DemoMachine:
    """What the box is told about a machine of the practice."""

    name: str
    label: str
    server: SshServer
    roots: tuple[str, ...]
    recipes: tuple[RecipeUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Worked:
    """What a day of work touched."""

    added: int
    changed: int
    renamed: int
    removed: int


def _silent(_what: str, _done: int, _total: int) -> None:
    pass


class Practice:
    """Use as a context manager: the servers run inside it.

    Args:
        folder: where all of it lies.
        patients: how many the practice has; 270 make about 4,000 files and 130 MB.
        with_database: run a PostgreSQL where one is installed and can be run.
    """

    def __init__(
        self, folder: Path, *, patients: int = PATIENTS, with_database: bool = True
    ) -> None:
        self.folder = folder.absolute()
        self._patients = patients
        self._state = self._load()
        self._exit = ExitStack()
        self._ssh = {
            name: SshServer(self.folder / name / "sshd", self._port(name))
            for name in ("serveur", "secretariat")
        }
        self._ssh[HOST_OF_COPIES] = SshServer(
            self.folder / HOST_OF_COPIES / "sshd", self._port(HOST_OF_COPIES), only_files=True
        )
        self.database: PostgresServer | None = None
        if with_database:
            try:
                found = PostgresServer(self.folder / "postgres", self._port("postgres"))
                self.database = found if found.can_reach() else None
            except (ToolMissing, KeyError):
                self.database = None  # not installed: the practice has no database then

    # --- what the box is told --------------------------------------------------------------

    @property
    def machines(self) -> list[DemoMachine]:
        """The two machines, with the ports they have now."""
        recipes: tuple[RecipeUse, ...] = ()
        if self.database is not None:
            values = {
                "databases": DATABASE,
                "host": HOST,
                "port": str(self.database.port),
                "user": self.database.superuser,
            }
            recipes = (RecipeUse("postgresql", values),)
        return [
            DemoMachine(
                "serveur",
                "Serveur du cabinet",
                self._ssh["serveur"],
                (str(self._tree("serveur")),),
                recipes,
            ),
            DemoMachine(
                "secretariat",
                "Poste du secrétariat",
                self._ssh["secretariat"],
                (str(self._tree("secretariat") / "Users"),),
            ),
        ]

    @property
    def share(self) -> Path:
        """The folder of the share «partage»."""
        return self._tree("partage")

    @property
    def host(self) -> SshServer:
        """The host of the copies: SFTP and nothing else."""
        return self._ssh[HOST_OF_COPIES]

    @property
    def copies(self) -> Path:
        """The folder of the copies at the host."""
        return self.folder / HOST_OF_COPIES / "copies"

    @property
    def days(self) -> int:
        """How many days of work were done."""
        return int(str(self._state.get("days", 0)))

    # --- its life --------------------------------------------------------------------------

    def fill(self, on_progress: OnProgress = _silent) -> bool:
        """Make the documents, once; return whether there was something to do. May be cut and called again."""
        if self._state.get("filled"):
            return False
        from appliance.demo import documents  # noqa: PLC0415 - imports what draws pictures

        documents.fill_practice(
            self._tree("serveur"),
            seed=SEED,
            patients=self._patients,
            on_progress=lambda done, total: on_progress("serveur", done, total),
        )
        documents.fill_secretary(
            self._tree("secretariat"),
            seed=SEED,
            on_progress=lambda done, total: on_progress("secretariat", done, total),
        )
        documents.fill_share(
            self._tree("partage"),
            seed=SEED,
            on_progress=lambda done, total: on_progress("partage", done, total),
        )
        self._remember(filled=True)
        return True

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for name, server in self._ssh.items():
                stack.callback(server.stop)
                server.start()
                self._remember(**{f"port-{name}": server.port})
            if self.database is not None:
                stack.callback(self.database.stop)
                self.database.start()
                self._remember(**{"port-postgres": self.database.port})
                self._fill_database(self.database)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    def work_a_day(self) -> Worked:
        """Do one more day of work: documents written, changed, renamed, removed; consultations added."""
        from appliance.demo import documents  # noqa: PLC0415 - imports what draws pictures

        day = self.days + 1
        done = [
            documents.change_a_day(self._tree(name), seed=day)
            for name in ("serveur", "secretariat", "partage")
        ]
        if self.database is not None:
            database = self.database
            documents.change_database(lambda sql: database.execute(sql, DATABASE), seed=day)
        self._remember(days=day)
        return Worked(
            sum(each.added for each in done),
            sum(each.changed for each in done),
            sum(each.renamed for each in done),
            sum(each.removed for each in done),
        )

    # --- below -----------------------------------------------------------------------------

    def _fill_database(self, database: PostgresServer) -> None:
        if self._state.get("database"):
            return
        from appliance.demo import documents  # noqa: PLC0415 - imports what draws pictures

        database.execute(f'DROP DATABASE IF EXISTS "{DATABASE}"')  # a start that was cut
        database.execute(f'CREATE DATABASE "{DATABASE}"')
        documents.seed_database(lambda sql: database.execute(sql, DATABASE))
        self._remember(database=True)

    def _tree(self, name: str) -> Path:
        return self.folder / name / "documents"

    def _port(self, name: str) -> int:
        known = self._state.get(f"port-{name}")
        return known if isinstance(known, int) else free_port()

    def _load(self) -> dict[str, object]:
        try:
            found = json.loads((self.folder / STATE).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _remember(self, **facts: object) -> None:
        self._state.update(facts)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.folder / f"{STATE}.new"
        draft.write_text(json.dumps(self._state), "utf-8")
        draft.replace(self.folder / STATE)

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def open_the_way(*folders: Path) -> None:
    """Let PostgreSQL's own user pass through to its cluster; as root only.

    The folders stay unreadable to it, and so does everything else in there (0700, 0600).
    """
    if os.geteuid() == 0:
        for folder in folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o711)
