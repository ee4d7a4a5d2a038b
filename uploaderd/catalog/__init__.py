"""The catalog in ClickHouse: client, migrations, rows."""
