"""The catalog in ClickHouse: client, migrations, rows."""

from uploaderd.catalog.client import Catalog, Refused

__all__ = ["Catalog", "Refused"]
