"""The catalog in ClickHouse: client, migrations, rows."""

import os

# The driver builds tables of all days from 1900 to 2299 at its import, 24 MB in each process; with
# this it adds a day when it meets it. Any text that is no range of days means: begin with none.
os.environ.setdefault("CLICKHOUSE_DRIVER_LASY_DATE_LUT", "none")

from uploaderd.catalog.client import Catalog, Refused

__all__ = ["Catalog", "Refused"]
