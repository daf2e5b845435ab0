"""The databases of the tests are real servers, and leave nothing behind."""

import subprocess

import pytest

from tests.support.databases import MariadbServer, PostgresCluster

pytestmark = pytest.mark.integration


def test_postgres_keeps_rows_through_a_kill_and_can_be_dumped():
    """Rows are there after a crash; ``pg_dump`` reads them over the socket."""
    with PostgresCluster() as server:
        server.create_database("cabinet")
        server.execute("CREATE TABLE p (n text); INSERT INTO p VALUES ('Éloïse')", "cabinet")
        assert server.query("SELECT n, 1 FROM p", "cabinet") == [("Éloïse", "1")]
        server.execute("CHECKPOINT")
        server.kill()
        server.start()
        dump = subprocess.run(
            ["pg_dump", "-h", server.socket_folder, "-p", str(server.port), "-U", "postgres", "cabinet"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "Éloïse" in dump.stdout
        with pytest.raises(RuntimeError, match="does not exist"):
            server.execute("SELECT * FROM nowhere")
        folder = server.folder
    assert not folder.exists()


def test_mariadb_keeps_rows_and_can_be_dumped():
    """Rows are there; ``mariadb-dump`` reads them over the socket."""
    with MariadbServer() as server:
        server.create_database("cabinet")
        server.execute("CREATE TABLE p (n text); INSERT INTO p VALUES ('Éloïse')", "cabinet")
        assert server.query("SELECT n, 1 FROM p", "cabinet") == [("Éloïse", "1")]
        dump = subprocess.run(
            ["mariadb-dump", "--no-defaults", "-u", "root", "-S", server.socket, "cabinet"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "Éloïse" in dump.stdout
        folder = server.folder
    assert not folder.exists()
