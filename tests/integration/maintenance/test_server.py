"""refresh server: what differs is found, and mended within limits."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.integration.maintenance.conftest import Home
from uploaderd.catalog.rows import FileRow
from uploaderd.ctl.main import main
from uploaderd.maintenance import server

NOW = ["--min-age", "-1"]


def findings(home: Home, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    main(["refresh", "server", "--json", *NOW, *words, *home.options])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {row["path"]: row["kind"] for row in rows if "path" in row}


def test_nothing_differs_after_a_load(home: Home) -> None:
    assert main(["refresh", "server", "--content", *NOW, *home.options]) == 0


def test_what_differs_is_found_and_mended(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    lost, moved, changed = home.filed()
    original = changed.read_bytes()
    lost.unlink()
    elsewhere = home.repository / "2020" / "moved.bin"
    elsewhere.parent.mkdir()
    moved.rename(elsewhere)
    changed.write_bytes(b"X" + original[1:])
    (elsewhere.parent / "new.bin").write_bytes(b"nobody knows me")
    names = {path: path.relative_to(home.repository).as_posix() for path in (lost, moved, changed)}
    without = {names[lost]: "missing", names[moved]: "missing", "2020/moved.bin": "dark",
               "2020/new.bin": "dark"}  # fmt: skip
    assert findings(home, capsys) == without
    assert findings(home, capsys, "--content") == {**without, names[changed]: "changed"}
    repair = ["refresh", "server", "--content", "--repair", *NOW, *home.options]
    assert main([*repair]) == 1, "nobody confirmed"
    assert main([*repair, "--yes", "--limit", "4"]) == 1, "too much"
    assert elsewhere.exists()
    assert main([*repair, "--yes"]) == 0
    assert moved.exists()
    assert not elsewhere.exists()
    stages = home.catalog.query("SELECT stage, error_code FROM files_now WHERE host_id = 7")
    assert sorted(tuple(row.values()) for row in stages) == [
        ("failed", "missing"), ("failed", "missing"), ("processed", ""),
        ("trashed", "changed"), ("trashed", "unknown_format"),
    ]  # fmt: skip
    assert main(["refresh", "server", "--content", *NOW, *home.options]) == 0


def test_spectra_that_are_lost_are_found_and_read_again(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = home.catalog.query("SELECT count() AS n FROM spectra_now")
    lost = home.catalog.query("SELECT path, sha256 FROM files_now WHERE path LIKE '%%rec1%%'")[0]
    home.catalog.execute(f"DELETE FROM spectra WHERE sha256 = '{lost['sha256']}' AND flow % 2 = 0")
    assert findings(home, capsys) == {lost["path"]: "incomplete"}
    files = home.filed()
    assert main(["refresh", "server", "--repair", "--yes", *NOW, *home.options]) == 0
    assert home.catalog.query("SELECT count() AS n FROM spectra_now") == wanted
    assert (home.filed(), findings(home, capsys)) == (files, {})


def test_a_copy_becomes_a_second_name_of_the_first(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    first = home.filed()[0]
    name = first.relative_to(home.repository).as_posix()
    (row,) = home.catalog.query("SELECT * FROM files_now WHERE path = %(path)s", {"path": name})
    copy = first.with_name("zzz.bin")
    shutil.copyfile(first, copy)
    place = copy.relative_to(home.repository).as_posix()
    home.catalog.insert(
        "files", [FileRow(**{**row, "file_id": "e" * 32, "path": place, "version": 0})]
    )
    assert findings(home, capsys) == {place: "duplicated"}
    assert main(["refresh", "server", "--repair", "--yes", *NOW, *home.options]) == 0
    assert copy.samefile(first)
    first.unlink()
    assert findings(home, capsys) == {name: "missing"}
    assert main(["refresh", "server", "--repair", "--yes", *NOW, *home.options]) == 0
    assert copy.samefile(first), "it was linked back from its copy"


def test_a_repository_that_is_not_mounted_is_no_loss(home: Home) -> None:
    home.repository.rename(home.folder / "elsewhere")
    assert main(["refresh", "server", "--repair", "--yes", *home.options]) == 1
    home.repository.mkdir()
    assert main(["refresh", "server", "--repair", "--yes", *home.options]) == 1
    assert home.catalog.query(
        "SELECT count() AS n FROM files_now WHERE error_code = 'missing'"
    ) == [{"n": 0}]


def test_young_files_and_transfers_under_way_are_left_alone(home: Home) -> None:
    (home.repository / "tmp" / "7").mkdir(parents=True, exist_ok=True)
    (home.repository / "tmp" / "7" / "coming.bin.part").write_bytes(b"half")
    (home.repository / "2020").mkdir()
    (home.repository / "2020" / "young.bin").write_bytes(b"just filed")
    assert server.compare(home.catalog, home.repository).findings == []


def test_pages_of_rows_meet_the_walk_in_the_same_order(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PAGE", 1)
    assert server.compare(home.catalog, home.repository, min_age_s=-1).findings == []
    assert server.compare(home.catalog, home.repository).rows == 4
