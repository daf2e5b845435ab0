"""The database: engine, schema, migrations, and one file of queries per noun."""
