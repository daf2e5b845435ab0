"""PostgreSQL through a real sshd: what is in the snapshot can be restored, or the run fails."""

import subprocess
import threading
import time
from contextlib import suppress

import psutil
import pytest

from appliance.backup_jobs.ssh import Endpoint
from appliance.errors import ConnectionLost, MachineError, RecipeFailed
from appliance.model import Consistency
from tests.integration.recipe_box import RecipeBox, read
from tests.support.databases import PostgresCluster
from tests.support.delay import DelayProxy

pytestmark = pytest.mark.integration
PASSWORD = 'l\'été "chaud" $HOME\\ `id` %s'


@pytest.fixture(scope="module")
def cluster():
    with PostgresCluster(passwords=True) as server:
        server.create_database("cabinet")
        server.create_database("imagerie d'Élodie")
        server.execute(
            "CREATE TABLE patient (id serial PRIMARY KEY, nom text, note bytea);"
            "INSERT INTO patient (nom, note) SELECT 'Nom ' || n, decode(md5(n::text), 'hex')"
            " FROM generate_series(1, 3000) n; CREATE INDEX ON patient (nom);"
            "CREATE VIEW courts AS SELECT id FROM patient WHERE id < 10;",
            "cabinet",
        )
        server.execute(
            "CREATE TABLE serie (uid text); INSERT INTO serie VALUES ('1.2.840')",
            "imagerie d'Élodie",
        )
        server.create_database("grosse")
        server.execute(
            "CREATE TABLE gros AS SELECT n, repeat(md5(n::text), 40) AS texte FROM generate_series(1, 30000) n",
            "grosse",
        )
        quoted = PASSWORD.replace("'", "''")
        server.execute(f"ALTER ROLE postgres PASSWORD '{quoted}'")
        yield server


@pytest.fixture
def box(settings, database, box_keys, sshd):
    return RecipeBox(settings, database, sshd)


def local(cluster, **values):
    return {
        "host": str(cluster.socket_folder),
        "port": str(cluster.port),
        "user": "postgres",
        **values,
    }


def restore(cluster, dump: bytes, name: str) -> None:
    cluster.create_database(name)
    subprocess.run(
        [cluster.programs / "pg_restore", "--exit-on-error", "-h", cluster.socket_folder, "-p",
         str(cluster.port), "-U", "postgres", "-d", name],
        input=dump, check=True, capture_output=True,
    )  # fmt: skip


def test_every_database_is_dumped_and_restores_as_it_was(box, cluster):
    """Asked of the server: a new database is not forgotten. Accounts are there too."""
    box.use("postgresql", **local(cluster))

    with box.prepare() as prepared:
        dumps = read(prepared)
        assert prepared.consistency is Consistency.DUMP
        assert prepared.roots == ("/etc",)

    folder = b"_armoire/postgresql/"
    assert set(dumps) == {
        folder + b"grosse.dump", folder + b"globals.sql", folder + b"cabinet.dump", folder + b"postgres.dump",
        folder + "imagerie d'Élodie.dump".encode(),
    }  # fmt: skip
    assert b"CREATE ROLE postgres" in dumps[folder + b"globals.sql"]
    restore(cluster, dumps[folder + b"cabinet.dump"], "again")
    asked = "SELECT id, nom, encode(note, 'hex') FROM patient ORDER BY id"
    assert cluster.query(asked, "again") == cluster.query(asked, "cabinet")
    assert cluster.query("SELECT count(*) FROM courts", "again") == [("9",)]
    cluster.execute("DROP DATABASE again")


def test_only_the_named_databases_when_they_are_named(box, cluster):
    """A list is a list."""
    box.use("postgresql", **local(cluster, databases="cabinet"))

    assert set(box.dumps()) == {
        b"_armoire/postgresql/globals.sql",
        b"_armoire/postgresql/cabinet.dump",
    }


def test_the_password_comes_from_the_vault_and_is_seen_nowhere(box, cluster, sshd):
    """Not in an argument list, not in an environment, not in a file of the machine."""
    box.use("postgresql", PASSWORD.encode(), **{**local(cluster), "host": cluster.host})
    seen: set[str] = set()
    ended = threading.Event()

    def watch():
        while not ended.is_set():
            for process in sshd.sessions():
                with suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))
                    seen.add(repr(process.environ()))
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        dumps = box.dumps()
    finally:
        ended.set()
        watcher.join()

    assert any(path.endswith(b"cabinet.dump") for path in dumps)
    assert any("pg_dump" in line for line in seen)
    assert not any("chaud" in line for line in seen)


@pytest.mark.parametrize("secret", [b"faux", None])
def test_a_wrong_or_missing_password_fails_the_run(box, cluster, secret):
    """With words that say so, and without hanging at a prompt."""
    box.use("postgresql", secret, **{**local(cluster, databases="cabinet"), "host": cluster.host})

    with pytest.raises(RecipeFailed) as raised:
        box.dumps()

    assert raised.value.reason == "the database refused the account or its password", (
        raised.value.said
    )
    assert "faux" not in str(raised.value)
    assert "faux" not in repr(raised.value)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"databases": "nowhere"}, "there is no such database"),
        ({"port": "1"}, "the database server does not answer"),
        ({"host": "/nowhere"}, "the database server does not answer"),
    ],
)
def test_what_is_wrong_is_said_in_words(box, cluster, values, reason):
    """A failing dump fails the run, and the person knows where to look."""
    box.use("postgresql", **local(cluster, **values))

    with pytest.raises(RecipeFailed) as raised:
        box.dumps()

    assert raised.value.reason == reason


def test_a_server_that_dies_in_mid_dump_fails_the_run(box, cluster):
    """What was dumped so far is no dump."""
    box.use("postgresql", **local(cluster, databases="grosse"))
    with box.prepare() as prepared:
        stream = next(each for each in prepared.streams if b"grosse" in each.path)
        blocks = stream.open()
        next(blocks)
        cluster.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'"
        )

        with pytest.raises(RecipeFailed):
            for _block in blocks:
                pass


def test_a_killed_pg_dump_fails_the_run(box, cluster, sshd):
    """An exit by signal is no success."""
    box.use("postgresql", **local(cluster, databases="grosse"))
    with box.prepare() as prepared:
        blocks = next(each for each in prepared.streams if b"grosse" in each.path).open()
        next(blocks)
        for process in sshd.sessions():
            with suppress(psutil.NoSuchProcess):
                if process.name() == "pg_dump":
                    process.kill()

        with pytest.raises(RecipeFailed) as raised:
            for _block in blocks:
                pass

    assert raised.value.reason == "the program was stopped"


def test_a_connection_cut_in_mid_dump_fails_the_run(box, cluster, sshd):
    """It may be tried again; half a dump is never kept."""
    with DelayProxy(sshd.port, rtt_ms=0) as proxy:
        one = box.endpoint
        box.endpoint = Endpoint(proxy.host, proxy.port, one.user, one.host_key, one.key)
        box.use("postgresql", **local(cluster, databases="grosse"))
        with box.prepare() as prepared:
            blocks = next(each for each in prepared.streams if b"grosse" in each.path).open()
            next(blocks)
            proxy.cut()

            with pytest.raises(MachineError) as raised:
                for _block in blocks:
                    pass

    assert isinstance(raised.value, ConnectionLost)
    assert raised.value.retryable


def test_two_servers_of_one_machine_do_not_collide(box, cluster):
    """The second use of a recipe has a folder of its own."""
    box.use("postgresql", **local(cluster, databases="cabinet"))
    box.use("postgresql", **local(cluster, databases="cabinet"))

    assert len(box.dumps()) == 4


def test_a_program_that_is_missing_is_named_as_such(box, settings, tmp_path):
    """«not found» is said as what it is."""
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nlevel = "dump"\nsystems = ["linux"]\ntitle = {fr = "a", en = "b"}\n'
        'about = {fr = "a", en = "b"}\n[[steps]]\nkind = "stream"\npath = "x"\ncommand = "no-such-program"\n'
    )
    import dataclasses

    box.settings = dataclasses.replace(settings, recipes_folder=str(tmp_path))
    box.use("mine")

    with pytest.raises(RecipeFailed) as raised:
        box.dumps()

    assert raised.value.reason == "a program is not installed on the machine"
