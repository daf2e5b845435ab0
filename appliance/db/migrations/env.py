"""Alembic's entry: runs on the connection that ``db.migrate`` hands over."""

from alembic import context

from appliance.db.tables import metadata

with context.config.attributes["connection"] as connection:
    context.configure(
        connection=connection, target_metadata=metadata, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()
