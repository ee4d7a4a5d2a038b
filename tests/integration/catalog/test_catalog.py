from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from lab.database import Database
from uploaderd.catalog import Catalog, Refused, files, migrate, pinned, sqlfiles
from uploaderd.catalog.ids import file_id, spectrum_id
from uploaderd.catalog.rows import EPOCH, FileRow, HostEventRow, HostRow, SiteRow, SpectrumRow
from uploaderd.catalog.status import host_status
from uploaderd.clock import now
from uploaderd.errors import CatalogError, MessageError


def file_row(number: int, stage: str, host_id: int = 1, version: int = 1) -> FileRow:
    name = f"/d/{number}"
    return FileRow(
        host_id, file_id(host_id, name, 9, 8), name, 9, 8, stage, version=version,
        processed_at=now() if stage == "processed" else EPOCH,
    )  # fmt: skip


def test_rows_of_every_class_go_in_and_fold_by_their_key(catalog: Catalog) -> None:
    rows = {
        "hosts": HostRow(1, "rfeye1"),
        "host_events": HostEventRow(1, "request", message_id="m"),
        "files": file_row(1, "fetched"),
        "spectra": SpectrumRow(
            spectrum_id("a" * 64, 0), file_id(1, "/d/1", 9, 8), "a" * 64, 1, "rfeye1", 0,
            88_000_000, 108_000_000, now(), now(), 3, 4, profile_mean=[-1000, -32768],
        ),
        "sites": SiteRow("s", -12.9, -38.4, 8.0, 1),
    }  # fmt: skip
    for table, row in rows.items():
        catalog.insert(table, [row])
        catalog.insert(table, [row])
        assert catalog.query(f"SELECT count() AS n FROM {table}_now") == [{"n": 1}]
    stored = catalog.query("SELECT profile_mean, sha256 FROM spectra_now")
    assert stored == [{"profile_mean": [-1000, -32768], "sha256": "a" * 64}]


def test_every_table_and_column_has_a_comment(catalog: Catalog) -> None:
    mine = "database = currentDatabase()"
    # A view's columns are those of its tables.
    views = f"SELECT name FROM system.tables WHERE {mine} AND engine = 'View'"
    assert not catalog.query(
        f"SELECT table, name FROM system.columns WHERE {mine} AND comment = '' "
        f"AND table NOT IN ({views})"
    )
    assert not catalog.query(
        f"SELECT name FROM system.tables WHERE {mine} AND comment = '' AND engine != 'View'"
    )


def test_the_ledger_knows_the_newest_stage_of_a_file(catalog: Catalog) -> None:
    catalog.insert("files", [file_row(1, "processed", version=2), file_row(2, "fetched")])
    catalog.insert("files", [file_row(1, "fetched", version=1), file_row(1, "failed", host_id=2)])
    ids = [file_id(1, f"/d/{n}", 9, 8) for n in (1, 2, 3)]
    assert files.known(catalog, 1, ids) == {ids[0]: "processed", ids[1]: "fetched"}
    assert files.known(catalog, 1, []) == {}


def test_the_status_counts_each_file_once_at_its_newest_stage(catalog: Catalog) -> None:
    catalog.insert("hosts", [HostRow(1, "rfeye1", last_contact=now())])
    catalog.insert("host_events", [HostEventRow(1, "backup_failed", "error", text="cut")])
    rows = [file_row(1, "discovered"), file_row(2, "discovered")]
    rows += [file_row(2, "fetched", version=2), file_row(3, "processed"), file_row(4, "trashed")]
    catalog.insert("files", rows)
    catalog.insert("files", rows)
    answer = host_status(catalog, host_uid="rfeye1")
    counts = {"host_files": 3, "pending_backup": 1, "pending_processing": 1, "processing_error": 1}
    assert answer.items() >= counts.items()
    assert answer["id_host"] == 1
    assert (answer["backup_error"], answer["backup_message"]) == (1, "cut")
    assert answer["last_backup"] == "N/A"
    assert isinstance(answer["last_processing"], float)


def test_an_unknown_host_has_a_valid_status(catalog: Catalog) -> None:
    answer = host_status(catalog, host_uid="nobody")
    assert answer["status"] == 1
    assert answer["host_files"] == "N/A"
    assert host_status(catalog, host_id=7)["host_files"] == 0
    with pytest.raises(MessageError):
        host_status(catalog)


def test_a_second_migration_finds_nothing_to_do(catalog: Catalog) -> None:
    assert migrate.migrate(catalog.settings) == []
    assert migrate.plan(catalog.settings) == []
    assert catalog.query("SELECT count() AS n FROM equipment_types")[0]["n"] == 10


def test_a_migration_that_was_cut_short_is_done_again(catalog: Catalog) -> None:
    catalog.execute("ALTER TABLE migrations DELETE WHERE 1 SETTINGS mutations_sync = 1")
    assert migrate.migrate(catalog.settings) == [m.name for m in migrate.migrations()]


def test_a_newer_database_is_refused(catalog: Catalog) -> None:
    newer = migrate.Migration(99, "0099_x", "")
    catalog.insert("migrations", [migrate._Applied(99, newer.name, newer.checksum, now())])
    with pytest.raises(migrate.MigrationError, match="newer than this release"):
        migrate.migrate(catalog.settings)


def test_a_changed_migration_is_refused(catalog: Catalog) -> None:
    catalog.insert("migrations", [migrate._Applied(1, "0001_catalog", "0" * 64, now())])
    with pytest.raises(migrate.MigrationError, match="another text"):
        migrate.migrate(catalog.settings)


def test_of_migrations_at_once_only_one_runs(catalog: Catalog) -> None:
    catalog.execute("DROP TABLE migrations")
    with migrate._locked(catalog), pytest.raises(CatalogError, match="under way"):
        migrate.migrate(catalog.settings)
    assert migrate.migrate(catalog.settings)


def test_of_many_rows_all_go_in_or_none(catalog: Catalog) -> None:
    rows = [SiteRow(f"s{number}", 1.0, 2.0, 3.0, 1) for number in range(10_000)]
    with pytest.raises(Refused, match="fixes does not take"):
        catalog.insert("sites", [*rows, replace(rows[0], fixes=-1)])
    assert catalog.query("SELECT count() AS n FROM sites") == [{"n": 0}]
    catalog.insert("sites", rows)
    assert catalog.query("SELECT uniqExact(site_id) AS n FROM sites") == [{"n": 10_000}]
    found = catalog.query(
        "SELECT count() AS n FROM system.parts WHERE database = currentDatabase()"
        " AND table = 'sites' AND active"
    )
    assert found == [{"n": 1}]


def test_errors_of_the_server_name_the_reason(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="UNKNOWN_TABLE"):
        catalog.query("SELECT * FROM nothing")
    assert catalog.query("SELECT 1 AS x") == [{"x": 1}]


def test_a_missing_server_and_a_missing_database_are_told_apart(database: Database) -> None:
    with (
        Catalog(replace(database.settings, port=1)) as catalog,
        pytest.raises(CatalogError, match="cannot be reached"),
    ):
        catalog.query("SELECT 1")
    with (
        Catalog(replace(database.settings, database="missing")) as catalog,
        pytest.raises(CatalogError, match="catalog migrate"),
    ):
        catalog.query("SELECT 1")


def test_threads_share_one_catalog(catalog: Catalog) -> None:
    found: list[int] = []

    def ask(number: int) -> None:
        for _ in range(10):
            found.append(catalog.query("SELECT %(n)s AS n", {"n": number})[0]["n"] - number)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0] * 40


def test_the_command_migrates_and_checks(
    database: Database, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from uploaderd.ctl.main import main

    options = ["--port", str(database.settings.port), "--database", "by_command"]
    assert main(["catalog", "check", *options]) == 1
    assert main(["catalog", "migrate", *options]) == 0
    assert main(["catalog", "check", "--json", *options]) == 0
    assert capsys.readouterr().out.endswith('{"ok": true, "pending": []}\n')
    assert main(["catalog", "check", "--password-file", str(tmp_path / "none")]) == 2


def test_a_ledger_that_a_power_cut_could_empty_is_refused_at_the_start(catalog: Catalog) -> None:
    catalog.execute("ALTER TABLE files MODIFY SETTING fsync_after_insert = 0")
    with Catalog(catalog.settings) as fresh, pytest.raises(Refused, match="fsync_after_insert"):
        fresh.query("SELECT 1")


def test_settings_that_the_server_does_not_let_go_are_told() -> None:
    assert pinned.problem([("async_insert", "0")]) == ""
    assert "async_insert = 1" in pinned.problem([("async_insert", "1")])


def test_a_migration_that_was_killed_between_its_statements_is_finished(
    database: Database, tmp_path: Path
) -> None:
    """From every release upward, and stopped after every statement of it."""
    settings = replace(database.settings, database="cut_short")
    known = migrate.migrations()
    for cut in (1, 5, len(sqlfiles.statements(known[0].text)) - 1):
        with Catalog(replace(settings, database="default")) as server:
            server.execute("DROP DATABASE IF EXISTS cut_short SYNC")
            server.execute("CREATE DATABASE cut_short")
        with Catalog(settings) as catalog:
            for statement in sqlfiles.statements(known[0].text)[:cut]:
                catalog.execute(statement)
        assert migrate.migrate(settings) == [one.name for one in known]
        assert migrate.plan(settings) == []


def test_every_released_schema_is_brought_up_with_its_rows(
    database: Database, tmp_path: Path
) -> None:
    settings = replace(database.settings, database="upward")
    known = migrate.migrations()
    for released in range(1, len(known) + 1):
        old = tmp_path / str(released)
        (old / "reference").mkdir(parents=True)
        for path in (sqlfiles.folder() / "reference").glob("*.csv"):
            (old / "reference" / path.name).write_bytes(path.read_bytes())
        for one in known[:released]:
            (old / f"{one.name}.sql").write_text(one.text)
        with Catalog(replace(settings, database="default")) as server:
            server.execute("DROP DATABASE IF EXISTS upward SYNC")
        assert migrate.migrate(settings, folder=old) == [one.name for one in known[:released]]
        with Catalog(settings) as catalog:
            catalog.insert("files", [file_row(1, "processed")])
        assert migrate.migrate(settings) == [one.name for one in known[released:]]
        with Catalog(settings) as catalog:
            assert host_status(catalog, host_id=1)["host_files"] == 1
