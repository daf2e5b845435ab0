"""MariaDB and SQLite through a real sshd: whole dumps, or a failed run."""

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from appliance.errors import RecipeFailed
from tests.integration.recipe_box import RecipeBox
from tests.support.databases import MariadbServer

pytestmark = pytest.mark.integration
PASSWORD = 'l\'été "chaud" #\\ $x'


@pytest.fixture
def box(settings, database, box_keys, sshd):
    return RecipeBox(settings, database, sshd)


# --- MariaDB -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    with MariadbServer() as one:
        one.create_database("cabinet")
        one.create_database("imagerie d'Élodie")
        one.execute(
            "CREATE TABLE patient (id INT PRIMARY KEY AUTO_INCREMENT, nom VARCHAR(80), note BLOB) ENGINE=InnoDB;"
            "INSERT INTO patient (nom, note) SELECT CONCAT('Élodie ', seq), UNHEX(MD5(seq)) FROM seq_1_to_2000;"
            "CREATE PROCEDURE compte() SELECT COUNT(*) FROM patient;"
            "CREATE TRIGGER avant BEFORE INSERT ON patient FOR EACH ROW SET NEW.nom = UPPER(NEW.nom);",
            "cabinet",
        )
        quoted = PASSWORD.replace("\\", "\\\\").replace("'", "''")
        one.execute(
            f"CREATE USER armoire@127.0.0.1 IDENTIFIED BY '{quoted}'; GRANT ALL ON *.* TO armoire@127.0.0.1"
        )
        yield one


def load(server, dump: bytes) -> None:
    done = subprocess.run(
        ["mariadb", "--no-defaults", "-u", "root", "-S", str(server.socket)],
        input=dump, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_every_mariadb_database_is_dumped_and_restores_as_it_was(box, server):
    """With its routines and triggers; the server's own schemas are left out, its accounts are not."""
    box.use("mariadb", socket=str(server.socket), user="root")

    dumps = box.dumps()

    folder = b"_armoire/mariadb/"
    assert set(dumps) == {
        folder + b"cabinet.sql",
        folder + b"mysql.sql",
        folder + "imagerie d'Élodie.sql".encode(),
    }
    load(server, dumps[folder + b"cabinet.sql"].replace(b"`cabinet`", b"`again`"))
    asked = "SELECT id, nom, HEX(note) FROM patient ORDER BY id"
    assert server.query(asked, "again") == server.query(asked, "cabinet")
    assert server.query("CALL compte()", "again") == [("2000",)]
    assert server.query("SHOW TRIGGERS", "again")
    server.execute("DROP DATABASE again")


def test_the_mariadb_password_goes_down_a_pipe(box, server):
    """Quotes, backslashes and «#» in it too."""
    box.use(
        "mariadb",
        PASSWORD.encode(),
        host=server.host,
        port=str(server.port),
        user="armoire",
        databases="cabinet",
    )

    assert set(box.dumps()) == {b"_armoire/mariadb/cabinet.sql"}


@pytest.mark.parametrize(
    ("values", "secret", "reason"),
    [
        ({"user": "armoire"}, b"faux", "the database refused the account or its password"),
        ({"user": "armoire"}, None, "the database refused the account or its password"),
        ({"user": "root", "databases": "nowhere"}, None, "there is no such database"),
        ({"user": "root", "port": "1"}, None, "the database server does not answer"),
    ],
)
def test_a_failing_mariadb_dump_fails_the_run(box, server, values, secret, reason):
    """In words."""
    place = {"host": server.host, "port": str(server.port)}
    if values["user"] == "root":
        place = {} if "port" in values else {"socket": str(server.socket)}
    if "port" in values:
        values = {**values, "host": server.host}
    box.use("mariadb", secret, **{**place, **values})

    with pytest.raises(RecipeFailed) as raised:
        box.dumps()

    assert raised.value.reason == reason


def test_a_mariadb_server_that_dies_in_mid_dump_fails_the_run(box, server):
    """The trailer is missing, and the program says so."""
    server.execute(
        "CREATE TABLE IF NOT EXISTS gros SELECT seq, REPEAT(MD5(seq), 100) t FROM seq_1_to_6000",
        "imagerie d'Élodie",
    )
    box.use("mariadb", socket=str(server.socket), user="root", databases="imagerie d'Élodie")
    with box.prepare() as prepared:
        blocks = prepared.streams[0].open()
        next(blocks)
        rows = server.query(
            "SELECT id FROM information_schema.processlist WHERE db = 'imagerie d''Élodie'"
        )
        for (number,) in rows:
            server.execute(f"KILL {number}")

        with pytest.raises(RecipeFailed):
            for _block in blocks:
                pass


# --- SQLite --------------------------------------------------------------------------------


@pytest.fixture(params=["wal", "delete"])
def file(request, tmp_path):
    path = tmp_path / "base d'été.sqlite"
    with sqlite3.connect(path) as one:
        one.execute(f"PRAGMA journal_mode={request.param}")
        one.execute("PRAGMA user_version=42")
        one.execute("CREATE TABLE compte (id INTEGER PRIMARY KEY, solde INTEGER)")
        one.executemany("INSERT INTO compte VALUES (?, 1000)", [(n,) for n in range(2000)])
    one.close()
    return path


def opened(dump: bytes, tmp_path: Path) -> sqlite3.Connection:
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(dump)
    return sqlite3.connect(copy)


def left() -> set[str]:
    return {
        str(path) for place in ("/dev/shm", "/tmp") for path in Path(place).glob("armoire-sqlite.*")
    }


def test_a_sqlite_file_under_writes_is_one_moment(box, file, tmp_path):
    """Money moves between accounts all the time; the sum in the copy is what it must be."""
    ended = threading.Event()
    moved = 0

    def write():
        nonlocal moved
        other = sqlite3.connect(file, timeout=30, isolation_level=None)
        while not ended.is_set():
            a, b = moved % 2000, (moved * 7 + 1) % 2000
            other.execute("BEGIN IMMEDIATE")
            other.execute("UPDATE compte SET solde = solde - 1 WHERE id = ?", (a,))
            other.execute("UPDATE compte SET solde = solde + 1 WHERE id = ?", (b,))
            other.execute("COMMIT")
            moved += 1
            time.sleep(0.0005)
        other.close()

    before = left()
    box.use("sqlite", file=str(file))
    writer = threading.Thread(target=write)
    writer.start()
    try:
        while moved < 20:
            time.sleep(0.01)
        dumps = box.dumps()
    finally:
        ended.set()
        writer.join()

    copy = opened(dumps[b"_armoire/sqlite/copy.sqlite"], tmp_path)
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert copy.execute("SELECT count(*), sum(solde) FROM compte").fetchone() == (2000, 2_000_000)
    assert copy.execute("PRAGMA user_version").fetchone() == (42,)
    copy.close()
    assert left() == before


def test_sqlite_is_copied_by_python_where_there_is_no_sqlite3(box, file, tmp_path, sshd):
    """A machine that has only Python."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "wc", "df", "awk", "mktemp", "rm", "cat", "env"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    (programs / "python3").symlink_to(f"{sys.base_prefix}/bin/python3")
    sshd.stop_process()
    # The account's login shell may set a PATH of its own.
    sshd._config = f'ForceCommand env PATH={programs} /bin/sh -c "$SSH_ORIGINAL_COMMAND"'
    sshd.start()
    box.use("sqlite", file=str(file))

    dumps = box.dumps()

    copy = opened(dumps[b"_armoire/sqlite/copy.sqlite"], tmp_path)
    assert copy.execute("SELECT sum(solde) FROM compte").fetchone() == (2_000_000,)
    copy.close()


def test_a_file_that_is_not_sqlite_or_not_there_fails_the_run(box, tmp_path):
    """Nothing is taken for a database."""
    wrong = tmp_path / "wrong.sqlite"
    wrong.write_bytes(b"not a database" * 100)
    before = left()

    for path in (wrong, tmp_path / "nowhere.sqlite"):
        box.use("sqlite", file=str(path))
        with pytest.raises(RecipeFailed):
            box.dumps()

    assert left() == before
