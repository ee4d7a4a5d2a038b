"""A pytest plugin: the tests' command-line client becomes a connection of the driver.

The tests compare with what `clickhouse-client` prints; the engine itself formats the rows so.
"""

from __future__ import annotations

import importlib
import os
import re
from typing import Any

from clickhouse_driver import Client, errors

_ASKS = re.compile(r"\s*\(*\s*(SELECT|WITH)\b", re.IGNORECASE)


def emit_cli(
    cls: type[Any],
    /,
    statement: str,
    database: str | None = None,
    encoding: str = "utf-8",
    **settings: Any,
) -> str:
    """Runs a statement; rows as the command-line client prints them."""
    options = {name: str(value) for name, value in settings.items()}
    if options.pop("use_client_time_zone", "0") == "1":
        options["session_timezone"] = os.environ["TZ"]
    with Client(
        cls.host,
        cls.port,
        database=cls.database if database is None else database,
        settings={**options, "strings_as_bytes": True},
    ) as client:
        try:
            if not _ASKS.match(statement):
                client.execute(statement)
                return ""
            rows = client.execute(f"SELECT formatRow('TSV', *) FROM ({statement})")
        except errors.Error as error:
            raise RuntimeError(f"Error during communication. {error}") from error
    return b"".join(row[0] for row in rows).decode(encoding)


def pytest_collection_finish() -> None:
    """Puts the connection in the place of the client program."""
    driver: Any = importlib.import_module("tests.testcase")
    driver.BaseTestCase.emit_cli = classmethod(emit_cli)
