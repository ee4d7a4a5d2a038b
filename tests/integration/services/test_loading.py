"""load: files that are here already go the way that fetched ones go, once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lab import recordings
from tests.integration.services import harness
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.rows import HostRow
from uploaderd.ctl.main import main
from uploaderd.errors import CatalogError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two recordings of one receiver, one of them twice, and a file that is none."""
    folder = tmp_path / "archive"
    (folder / "old").mkdir(parents=True)
    recordings.write_crfs(folder / "one.bin", 1)
    recordings.write_crfs(folder / "old" / "two.bin", 2)
    (folder / "old" / "three.bin").write_bytes((folder / "one.bin").read_bytes())
    (folder / "broken.bin").write_bytes(b"broken")
    return folder


@pytest.fixture
def config(tmp_path: Path, catalog: Catalog) -> list[str]:
    """A daemon's configuration with a process service."""
    services = tmp_path / "services.d"
    services.mkdir()
    harness.settings_of(services, "process", catalog.settings)
    file = tmp_path / "config.json"
    repository = str(tmp_path / "repository")
    file.write_text(json.dumps({"run_dir": str(tmp_path / "run"), "repository": repository}))
    return ["-c", str(file), "-s", str(services)]


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    lines = capsys.readouterr().out.splitlines()
    return {Path(row["file"]).name: row for row in map(json.loads, lines)}


def test_an_archive_is_loaded_once(
    archive: Path,
    config: list[str],
    tmp_path: Path,
    catalog: Catalog,
    capsys: pytest.CaptureFixture[str],
) -> None:
    catalog.insert("hosts", [HostRow(5, "RFEYE000001")])
    assert main(["load", str(archive), "--json", *config]) == 1
    first = told(capsys)
    assert first["one.bin"]["outcome"] == first["two.bin"]["outcome"] == "processed"
    assert first["three.bin"]["outcome"] == "known"
    assert first["broken.bin"]["outcome"] == "trashed"
    assert (tmp_path / "repository" / first["two.bin"]["path"]).is_file()
    assert (archive / "one.bin").stat().st_nlink == 1
    counted = catalog.query("SELECT count() AS n, uniqExact(host_id) AS hosts FROM spectra_now")
    assert counted[0]["n"] > 0
    assert main(["load", str(archive), "--json", *config]) == 0
    assert {row["outcome"] for row in told(capsys).values()} == {"known"}
    assert catalog.query("SELECT count() AS n, uniqExact(host_id) AS hosts FROM spectra_now") == (
        counted
    )
    assert not [path for path in (tmp_path / "repository" / "tmp").rglob("*") if path.is_file()]


def test_a_load_that_was_cut_short_goes_on(
    archive: Path, config: list[str], catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, inserted = Catalog.insert, []

    def once(self: Catalog, table: str, rows: Any) -> None:
        if table == "spectra":
            inserted.append(rows)
            if len(inserted) > 1:
                raise CatalogError("The database went away.")
        insert(self, table, rows)

    names = ["--host-id", "3", "--host-uid", "archive", "--workers", "1"]
    with monkeypatch.context() as patched:
        patched.setattr(Catalog, "insert", once)
        assert main(["load", str(archive), *names, *config]) == 1
    (archive / "broken.bin").unlink()
    assert main(["load", str(archive), *names, *config]) == 0
    rows = catalog.query("SELECT stage, host_uid FROM files_now WHERE stage != 'trashed'")
    assert {tuple(row.values()) for row in rows} == {("processed", "archive")}


def test_a_linked_file_is_not_copied(archive: Path, config: list[str], tmp_path: Path) -> None:
    assert main(["load", "--link", str(archive / "one.bin"), *config]) == 0
    assert (archive / "one.bin").stat().st_nlink == 2
    assert main(["load", str(tmp_path / "nothing"), *config]) == 2


def test_a_name_that_is_no_text_is_loaded(archive: Path, config: list[str]) -> None:
    strange = os.fsencode(archive) + b"/\xff.bin"
    Path(os.fsdecode(strange)).write_bytes((archive / "one.bin").read_bytes())
    assert main(["load", os.fsdecode(strange), *config]) == 0
