"""A real PostgreSQL accepts the demonstration's database."""

import pytest

from appliance.demo.documents import change_database, seed_database
from tests.support.databases import PostgresCluster

pytestmark = pytest.mark.integration


def test_postgres_holds_every_row_the_seed_announced():
    """Rows counted by the server are those announced, before and after a working day."""
    with PostgresCluster() as server:
        server.create_database("cabinet")
        rows = seed_database(lambda sql: server.execute(sql, "cabinet"))
        tables = ("patients", "consultations", "prescriptions", "rendez_vous")
        count = "SELECT " + " + ".join(f"(SELECT count(*) FROM {name})" for name in tables)
        assert server.query(count, "cabinet") == [(str(rows),)]
        rows += change_database(lambda sql: server.execute(sql, "cabinet"), seed=1)
        assert server.query(count, "cabinet") == [(str(rows),)]
        assert server.query("SELECT nom FROM patients WHERE nom LIKE 'D''%' LIMIT 1", "cabinet")
