"""The schema of a cluster, made from the statements for a single server.

Every table becomes a replicated one on each shard, `NAME_local`, and a `Distributed` one, `NAME`,
over them. Rows of one key go to one shard, so that they fold there: files, hosts and their events
by station number, spectra by station name. Small tables that queries join with (sites and
reference) are whole on every server and need no second table.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from uploaderd.catalog import sqlfiles
from uploaderd.catalog.embedded.statements import identifier, quoted
from uploaderd.catalog.migrate import LEDGER, REFERENCE, migrations
from uploaderd.errors import CatalogError

SHARDED = {
    "hosts": "host_id",
    "host_events": "host_id",
    "files": "host_id",
    "spectra": "cityHash64(station)",
}
"""What decides a row's shard; tables that are not here are whole on every server."""
_CREATE = re.compile(
    r"CREATE TABLE IF NOT EXISTS (?P<name>\w+) (?P<columns>\(.*\)) "
    r"ENGINE = ReplacingMergeTree(?:\((?P<version>\w+)\))?(?P<rest>.*)",
    re.DOTALL,
)
_ALTER = re.compile(r"ALTER TABLE (?P<name>\w+) (?P<change>.*)", re.DOTALL)
_VIEW = re.compile(r"CREATE OR REPLACE VIEW (?P<name>\w+) (?P<query>AS .*)", re.DOTALL)
_EXCHANGE = re.compile(r"(?:--[^\n]*\n)?EXCHANGE TABLES (?P<old>\w+) AND (?P<new>\w+)")
_DROP = re.compile(r"DROP TABLE IF EXISTS (?P<name>\w+) SYNC")
_COPY = re.compile(r"\w+_\d{4}")
"""Name of a table that takes the place of another in a migration."""
_OF_PARTS = re.compile(r"\s*(?:MODIFY SETTING|ADD PROJECTION|ADD INDEX|MATERIALIZE)\b")
"""Changes that a table without parts of its own does not have."""
_COMMENT = re.compile(r"COMMENT '(?:[^']|'')*'\s*$")
_CODEC = re.compile(r"\sCODEC\((?:[^()]|\([^()]*\))*\)")


def script(database: str, cluster: str, folder: Path | None = None) -> list[str]:
    """All statements that make the schema of this release on the cluster, in their order.

    They can be repeated. Raises `CatalogError` for a migration that has no cluster form.
    """
    sql = folder or sqlfiles.folder()
    found = [f"CREATE DATABASE IF NOT EXISTS {identifier(database)} ON CLUSTER {quoted(cluster)}"]
    found.append(f"USE {identifier(database)}")
    found += form(LEDGER, cluster)
    for migration in migrations(sql):
        for statement in sqlfiles.statements(migration.text):
            found += form(statement, cluster)
        values = f"{migration.number}, {quoted(migration.name)}, {quoted(migration.checksum)}"
        found.append(f"INSERT INTO migrations SELECT {values}, now64(3)")
    return found + [_rows(table, sql / "reference" / f"{table}.csv") for table in REFERENCE]


def form(statement: str, cluster: str) -> list[str]:
    """The statements on a cluster that do what this one does on a single server."""
    on = f"ON CLUSTER {quoted(cluster)}"
    statement = statement.strip()
    if match := _VIEW.fullmatch(statement):
        return [f"CREATE OR REPLACE VIEW {match['name']} {on} {match['query']}"]
    if match := _ALTER.fullmatch(statement):
        name, change = match["name"], match["change"]
        if not _shard(name):
            return [f"ALTER TABLE {name} {on} {change}"]
        local = f"ALTER TABLE {name}_local {on} {change}"
        if _OF_PARTS.match(change):
            return [local]
        return [local, f"ALTER TABLE {name} {on} {_CODEC.sub('', change)}"]
    if match := _CREATE.fullmatch(statement):
        return _tables(match, cluster, on)
    if match := _EXCHANGE.fullmatch(statement):
        # The table over the shards finds its local ones by name.
        local = "_local" if _shard(match["old"]) else ""
        return [f"EXCHANGE TABLES {match['old']}{local} AND {match['new']}{local} {on}"]
    if match := _DROP.fullmatch(statement):
        names = [match["name"]] + ([f"{match['name']}_local"] if _shard(match["name"]) else [])
        return [f"DROP TABLE IF EXISTS {name} {on} SYNC" for name in names]
    if re.match(r"INSERT INTO \w+_\d{4}\s", statement):
        return [statement]
    raise CatalogError(f"This statement has no form for a cluster: {statement[:80]}")


def _shard(table: str) -> str | None:
    """What decides the shard of a table's rows, or those of the table that it is to replace."""
    return SHARDED.get(table[:-5] if _COPY.fullmatch(table) else table)


def _tables(match: re.Match[str], cluster: str, on: str) -> list[str]:
    name, version = match["name"], match["version"]
    shard = _shard(name)
    # The path of a table that is whole everywhere has no shard in it.
    path = f"/clickhouse/tables/{'{shard}' if shard else 'all'}/{{database}}/{name}"
    arguments = [quoted(path), quoted("{replica}" if shard else "{shard}-{replica}")]
    arguments += [version] if version else []
    engine = f"ReplicatedReplacingMergeTree({', '.join(arguments)})"
    local = f"{name}_local" if shard else name
    made = [
        f"CREATE TABLE IF NOT EXISTS {local} {on} {match['columns']} ENGINE = {engine}"
        f"{match['rest']}"
    ]
    if shard:
        comment = _COMMENT.search(match["rest"])
        made.append(
            f"CREATE TABLE IF NOT EXISTS {name} {on} {_CODEC.sub('', match['columns'])} ENGINE ="
            f" Distributed({quoted(cluster)}, currentDatabase(), {quoted(local)}, {shard})"
            f" {comment[0] if comment else ''}"
        )
    return made


def _rows(table: str, path: Path) -> str:
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    values = ", ".join(f"({', '.join(map(quoted, row))})" for row in rows)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES {values}"
