"""From the first release's schema to this one, with rows and with a crash in the middle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab.database import Database
from uploaderd.catalog import Catalog, files, ids, migrate, sqlfiles
from uploaderd.catalog.rows import FileRow, HostEventRow, SpectrumRow
from uploaderd.catalog.status import host_status
from uploaderd.config.settings import DatabaseSettings

RELEASED = {
    "0001_catalog": "4c78eb463928962c6578e3ad658cbc129f6654a5dc667bc121884b2dabf5598b",
    "0020_quantile_profiles": "095a686cf208f2a6daf1d5eaa2a97f27e12bd561a95564b376b72c5b45fcd186",
    "0021_places": "aa5bcd9567156cd4721326e486ea8a4e47c688bcf5fec1c1fc51351c131a0ff5",
    "0023_backlog": "f165477c2010056667ee973fcc1d7e0d965b3d95232e1d0c6303a65c6e237881",
}
"""Migrations that databases may have, by the hash of their text, which cannot change any more."""
STAGES = ("processed", "fetched", "discovered", "failed", "trashed")
(LAST,) = [one for one in migrate.migrations() if one.name == "0030_rows_in_order"]
CONTENTS = ["ab" * 32, "cd" * 32]
START = datetime(2026, 3, 1, tzinfo=UTC)


def old_id(*parts: object) -> str:
    """An id as the first release made it."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def file_rows() -> Iterator[tuple[FileRow, int]]:
    """A file at each stage as this release writes it, and its version of the first release."""
    for number, stage in enumerate(STAGES):
        path, mtime = f"/data/{number}é.bin", (1_700_000_000 + number) * 10**9 + 5
        identity = ids.file_id(7, path, number, mtime)
        row = FileRow(7, identity, path, number, mtime, stage, version=10**18 + number)
        yield row, 10**18 + number


def spectrum_rows() -> list[SpectrumRow]:
    """Three flows of each of two contents; the second's file is not in the ledger."""
    first, _ = next(file_rows())
    return [
        SpectrumRow(
            ids.spectrum_id(sha256, place), file_id, sha256, 7, "s", 10 - place, 1, 2, START, START,
            1, 1, profile_max=[place], ingested_at=START,
        )
        for sha256, file_id in zip(CONTENTS, (first.file_id, "f" * 32), strict=True)
        for place in range(3)
    ]  # fmt: skip


def insert(catalog: Catalog, table: str, rows: list[dict[str, Any]]) -> None:
    catalog.insert_columns(
        table, list(rows[0]), list(zip(*(r.values() for r in rows), strict=True))
    )


def fill_as_first_release(catalog: Catalog) -> None:
    old = []
    renamed = {}
    for row, version in file_rows():
        renamed[row.file_id] = old_id("file", 7, row.size, row.mtime_ns, row.remote_path)
        old.append({**vars(row), "file_id": renamed[row.file_id], "version": version})
    insert(catalog, "files", [{**one, "version": 1, "stage": "discovered"} for one in old])
    insert(catalog, "files", old)
    spectra = []
    for place, spectrum in enumerate(spectrum_rows()):
        values = asdict(spectrum) | {
            "spectrum_id": old_id("spectrum", spectrum.sha256, place % 3),
            "file_id": renamed.get(spectrum.file_id, spectrum.file_id),
        }
        del values["profile_p10"], values["profile_p50"]
        spectra.append(values)
    insert(catalog, "spectra", spectra)
    insert(catalog, "spectra", spectra[:2])
    event = dict(vars(HostEventRow(7, "backup_done", message_id="m", at=START)))
    del event["pending"]
    insert(catalog, "host_events", [event, event])


def holds_what_this_release_would_have_written(settings: DatabaseSettings) -> None:
    with Catalog(settings) as catalog:
        wanted = {row.file_id: row for row, _ in file_rows()}
        found = catalog.query("SELECT * FROM files_now")
        assert {row["file_id"]: FileRow(**row) for row in found} == wanted
        assert files.known(catalog, 7, list(wanted)) == {k: r.stage for k, r in wanted.items()}
        spectra = catalog.query("SELECT * FROM spectra_now ORDER BY sha256, spectrum_id")
        for row, spectrum in zip(spectra, spectrum_rows(), strict=True):
            for name in ("spectrum_id", "file_id", "sha256", "flow", "profile_max", "time_start"):
                assert row[name] == getattr(spectrum, name)
        assert catalog.query("SELECT count() AS n FROM host_events_now") == [{"n": 1}]
        answer = host_status(catalog, host_id=7)
        assert (answer["host_files"], answer["pending_backup"]) == (4, 1)
        tables = {row["name"] for row in catalog.query("SHOW TABLES")}
        assert not {name for name in tables if name[-4:].isdigit()}
        keys = "SELECT sorting_key AS k FROM system.tables WHERE database = currentDatabase()"
        (key,) = catalog.query(f"{keys} AND name = 'spectra'")
        assert key["k"] == "station, time_start, freq_start, spectrum_id"
        # What the newest migration adds is there for the rows of old, too.
        (made,) = catalog.query("SELECT min(content = cityHash64(sha256)) AS all FROM files")
        assert made["all"] == 1


def test_texts_of_released_migrations_never_change() -> None:
    texts = {one.name: one.checksum for one in migrate.migrations()}
    assert RELEASED.items() <= texts.items()


def cuts() -> list[int]:
    """How many statements of the migration were done: around each table's taking its place."""
    found = sqlfiles.statements(LAST.text)
    exchanged = [n for n, statement in enumerate(found, 1) if "EXCHANGE TABLES" in statement]
    return [0, *(n - 1 for n in exchanged), *exchanged]


@pytest.mark.parametrize("cut", cuts())
def test_rows_of_the_first_release_are_as_if_this_one_had_written_them(
    database: Database, tmp_path: Path, cut: int
) -> None:
    settings = replace(database.settings, database=f"first_release_{cut}")
    (tmp_path / "reference").symlink_to(sqlfiles.folder() / "reference")
    first, *others = [one for one in migrate.migrations() if one.number < LAST.number]
    (tmp_path / f"{first.name}.sql").write_text(first.text)
    assert migrate.migrate(settings, folder=tmp_path) == [first.name]
    with Catalog(settings) as catalog:
        fill_as_first_release(catalog)
        if cut:
            for one in others:
                for statement in sqlfiles.statements(one.text):
                    catalog.execute(statement)
            for statement in sqlfiles.statements(LAST.text)[:cut]:
                catalog.execute(statement)
    assert LAST.name in migrate.migrate(settings)
    holds_what_this_release_would_have_written(settings)
    with Catalog(settings) as catalog:
        catalog.execute(f"DROP DATABASE {settings.database}")
