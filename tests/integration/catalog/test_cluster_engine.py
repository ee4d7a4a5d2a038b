"""The form for a cluster and the roles on an engine that has a cluster of one shard, itself.

There is no keeper in one process: replicated tables are made as the same tables without replicas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lab import database as lab_database
from uploaderd.catalog import Catalog, cluster, cookbook, sqlfiles
from uploaderd.catalog.ids import file_id, spectrum_id
from uploaderd.catalog.migrate import migrate
from uploaderd.catalog.rows import FileRow, HostEventRow, HostRow, SpectrumRow
from uploaderd.catalog.status import host_status
from uploaderd.errors import CatalogError

START = datetime(2026, 3, 1, 10, tzinfo=UTC)
_REPLICATED = re.compile(r"ReplicatedReplacingMergeTree\('[^']*', '[^']*'(?:, (\w+))?\)")


def start(folder: Path, rights: str) -> lab_database.Database:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    config = Path(__file__).with_name("config.xml").read_text("utf-8")
    (data / "config.xml").write_text(config.replace("FOLDER", str(data)).replace("RIGHTS", rights))
    return lab_database.start(folder)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[lab_database.Database]:
    server = start(tmp_path, "")
    try:
        yield server
    finally:
        server.stop()


def fill(catalog: Catalog) -> None:
    """Some of every kind, with repeated and replaced rows."""
    for number in range(12):
        sha = f"{number % 10:064}"
        identity = file_id(1 + number % 3, f"/{number}", 5, number)
        start = START + timedelta(minutes=25 * number)
        spectrum = SpectrumRow(
            spectrum_id(sha, 0), identity, sha, 1 + number % 3, f"s{number % 3}", 0, 100, 400,
            start, start + timedelta(minutes=60 + number % 2 * 30), 60, 4, unit="dBm",
            revisit_s=60.0, level_p10=-105.0,
            level_p50=-100.0, level_p90=-80.0, level_max=-50.0, level_min=-110.0,
            **{f"profile_{one}": [-1000 + number, -900, -500] for one in
               ("min", "p10", "p50", "p90", "max", "mean")},
            ingested_at=start,
        )  # fmt: skip
        file = FileRow(
            1 + number % 3, identity, f"/{number}", 5, number, "processed", f"s{number % 3}",
            sha256=sha, path=f"2026/{number}", fetched_at=start, processed_at=start,
            error_code="bad" if number % 4 == 0 else "", version=1000 + number,
        )  # fmt: skip
        event = HostEventRow(1 + number % 3, "backup_done", at=start, host_uid=f"s{number % 3}")
        catalog.insert("spectra", [spectrum, spectrum])
        catalog.insert("spectra", [replace(spectrum, ingested_at=START + timedelta(days=1))])
        catalog.insert("files", [replace(file, stage="fetched", error_code="x"), file])
        catalog.insert("host_events", [event, event])
        catalog.insert("hosts", [HostRow(1 + number % 3, f"s{number % 3}", updated_at=start)])


def answers(catalog: Catalog) -> dict[str, list[dict[str, Any]]]:
    given = {"raw_file": {"spectrum_id": spectrum_id(f"{3:064}", 0)}, "gaps": {"hours": "0.1"}}
    return {
        name: cookbook.run(catalog, name, given.get(name, {})) for name in cookbook.queries()
    } | {"status": [host_status(catalog, host_id=2)]}


def test_tables_over_shards_answer_as_a_single_server(engine: lab_database.Database) -> None:
    single = replace(engine.settings, database="single")
    migrate(single)
    with Catalog(engine.settings) as catalog:
        catalog.execute("CREATE DATABASE sharded")
    with (
        Catalog(replace(engine.settings, database="sharded")) as sharded,
        Catalog(single) as alone,
    ):
        for statement in cluster.script("sharded", "main"):
            if not statement.startswith(("CREATE DATABASE", "USE")):
                here = statement.replace(" ON CLUSTER 'main'", "")
                sharded.execute(
                    _REPLICATED.sub(lambda m: f"ReplacingMergeTree({m[1] or ''})", here)
                )
        for catalog in (sharded, alone):
            fill(catalog)
        (files,) = sharded.query(
            "SELECT engine FROM system.tables WHERE database = 'sharded' AND name = 'files'"
        )
        assert files["engine"] == "Distributed"
        wanted, found = answers(alone), answers(sharded)
        for name, rows in wanted.items():
            assert rows, name
            assert repr(found[name]) == repr(rows), name


def test_a_replicated_table_wants_nothing_but_a_keeper(engine: lab_database.Database) -> None:
    with Catalog(engine.settings) as catalog:
        for statement in cluster.script("uploaderd", "main"):
            if "Replicated" in statement:
                alone = statement.replace(" ON CLUSTER 'main'", "")
                with pytest.raises(CatalogError, match="NO_ZOOKEEPER"):
                    catalog.execute(alone)


def rights_of(role: str) -> str:
    """What the roles' file grants a role, as rights of the only user that there is here."""
    text = (sqlfiles.folder() / "access" / "roles.sql").read_text("utf-8")
    grants = [
        statement.rpartition(" TO ")[0]
        for statement in sqlfiles.statements(text)
        if statement.startswith("GRANT ") and role in statement.rpartition(" TO ")[2]
    ]
    # A server asks nothing of who connects to a database, nor of rows on their way in: here one
    # is a statement, the other a file.
    grants += ["GRANT SHOW DATABASES ON default.*", "GRANT READ ON FILE"]
    grants += ["GRANT CREATE TEMPORARY TABLE ON *.*"]
    return f"<grants>{''.join(f'<query>{grant}</query>' for grant in grants)}</grants>"


@pytest.mark.slow
def test_each_role_may_what_it_is_for_and_no_more(tmp_path: Path) -> None:
    for role, may_write, may_make in (
        ("uploaderd_owner", True, True),
        ("uploaderd_writer", True, False),
        ("uploaderd_analyst", False, False),
    ):
        server = start(tmp_path, rights_of(role))
        settings = replace(server.settings, database="uploaderd")
        try:
            if may_make:
                assert migrate(settings)
            with Catalog(settings) as catalog:
                if may_write:
                    fill(catalog)
                assert all(answers(catalog).values())
                for allowed, statement in (
                    (may_write, "INSERT INTO units VALUES ('x', 'x', 'x')"),
                    (may_make, "CREATE TABLE mine (a UInt8) ENGINE = Memory"),
                ):
                    with nullcontext() if allowed else pytest.raises(CatalogError, match="DENIED"):
                        catalog.execute(statement)
        finally:
            server.stop()
