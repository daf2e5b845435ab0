"""Many entries at once are the same chain as one by one."""

from datetime import UTC, datetime

from appliance.db.engine import Database
from appliance.ledger import chain

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_many_at_once_make_the_same_chain(database: Database) -> None:
    """Between entries written one by one; the whole is verified."""
    told = {"at": NOW, "event": "file.added", "actor": "person:1", "subject": "share:1"}
    with database.write() as connection:
        chain.append(connection, **told, body={"path": "YQ"})
        chain.append_many(connection, **told, bodies=[{"path": "Yg", "bytes": 1}, {"path": "Yw"}])
        chain.append_many(connection, **told, bodies=[])
        chain.append(connection, **told, body={"path": "ZA"})
    with database.read() as connection:
        assert chain.verify(connection) == 4
        assert [each.body["path"] for each in chain.entries(connection)] == ["YQ", "Yg", "Yw", "ZA"]
