"""Backups: what did not change is not written again; what is restored is the same, bit by bit."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.maintenance.conftest import Home
from uploaderd.catalog import Catalog
from uploaderd.catalog.rows import FileRow, HostRow, SiteRow
from uploaderd.ctl.main import main


@pytest.fixture
def second(catalog: Catalog) -> Iterator[Catalog]:
    """A database that does not exist yet."""
    settings = replace(catalog.settings, database=f"s{uuid.uuid4().hex[:12]}")
    with Catalog(settings) as second:
        yield second
    catalog.execute(f"DROP DATABASE IF EXISTS {settings.database}")


def run(*words: str, of: Catalog) -> int:
    where = ["--port", str(of.settings.port), "--database", of.settings.database]
    return main(["catalog", *words, "--json", *where])


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return answer


def test_a_backup_is_incremental_and_restores_to_the_same(
    home: Home, second: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog, folder = home.catalog, str(tmp_path / "backups")
    catalog.insert("sites", [SiteRow("X", -12.5, 38.25, math.nan, 3, name="São Tomé's \\ \0 end")])
    for _ in range(2):
        catalog.insert("hosts", [HostRow(7, "rfeye000007")])
    assert run("backup", folder, of=catalog) == 0
    first = told(capsys)
    assert first["written"] == first["chunks"] > 4
    assert run("backup", folder, of=catalog) == 0
    assert (told(capsys)["written"], first["rows"]) == (0, first["rows"])
    catalog.insert("files", [FileRow(9, "0" * 32, "/new", 1, 5, "discovered")])
    assert run("backup", folder, of=catalog) == 0
    assert told(capsys)["written"] == 1
    assert run("backup", folder, "--verify", of=catalog) == 0
    assert run("restore", folder, of=second) == 0
    for table in ("files", "spectra", "sites", "hosts", "units"):
        both = [
            one.query(f"SELECT count() AS n, sum(cityHash64(*)) AS sum FROM `{table}` FINAL")
            for one in (catalog, second)
        ]
        assert both[0] == both[1], table
        assert both[0][0]["n"] > 0
    assert run("restore", folder, of=second) == 1, "it is not empty any more"
    assert "not empty" in capsys.readouterr().err


def test_a_damaged_backup_is_refused_before_anything_is_restored(
    home: Home, second: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "backups"
    assert run("backup", str(folder), of=home.catalog) == 0
    victim = max((folder / "objects").iterdir(), key=lambda path: path.stat().st_size)
    sound = victim.read_bytes()
    victim.write_bytes(sound[:100] + b"X" + sound[101:])
    assert run("backup", str(folder), "--verify", of=home.catalog) == 1
    assert run("restore", str(folder), of=second) == 1
    assert "damaged" in capsys.readouterr().err
    name = {"name": second.settings.database}
    assert home.catalog.query("SELECT name FROM system.databases WHERE name = %(name)s", name) == []
    victim.unlink()
    assert run("restore", str(folder), of=second) == 1
    manifest = next(folder.glob("*.json"))
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**values, "migrations": ["9999_of_tomorrow"]}))
    assert run("restore", str(folder), of=second) == 1
    assert "newer" in capsys.readouterr().err
    assert run("restore", str(tmp_path / "nothing"), of=second) == 1
