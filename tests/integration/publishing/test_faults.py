"""Whatever goes wrong, readers see the last whole version."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as pads
import pytest

from tests.integration.publishing.rows import START, fill, spectrum
from uploaderd import crash_points
from uploaderd.catalog import Catalog
from uploaderd.errors import CatalogError, RepositoryError
from uploaderd.publishing import files, release
from uploaderd.publishing.parquet import publish

TIMES = ("before", "after")
PUBLISHER = """
import os, resource, signal, sys
from pathlib import Path
from uploaderd.catalog import Catalog
from uploaderd.config.settings import DatabaseSettings
from uploaderd.publishing.parquet import publish

port, database, folder, deadly = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
steps = 0

def progress():
    global steps
    steps += 1
    if steps == deadly:
        os.kill(os.getpid(), signal.SIGKILL)

with Catalog(DatabaseSettings(port=port, database=database, timeout_s=300)) as catalog:
    publish(catalog, folder, complete=True, progress=progress)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def publisher(catalog: Catalog, folder: Path, deadly: int = 0) -> subprocess.CompletedProcess[str]:
    settings = catalog.settings
    words = [str(settings.port), settings.database, str(folder), str(deadly)]
    return subprocess.run(
        [sys.executable, "-c", PUBLISHER, *words],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


def rows(folder: Path, name: str = "spectra") -> int:
    found: int = pads.dataset(folder / "current" / name, partitioning="hive").count_rows()
    return found


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "versions").iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "uploaderd-test", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_killed_publication_leaves_the_old_version_and_the_next_cleans_up(
    catalog: Catalog, tmp_path: Path
) -> None:
    fill(catalog)
    first = publish(catalog, tmp_path, complete=False)
    catalog.insert("spectra", [spectrum(900)])
    assert publisher(catalog, tmp_path, deadly=4).returncode == -signal.SIGKILL
    assert len(kept(tmp_path)) == 2
    assert rows(tmp_path) == 60
    second = publish(catalog, tmp_path, complete=False)
    assert kept(tmp_path) == [first.version, second.version]
    assert rows(tmp_path) == 61
    assert not list(release.verify(tmp_path, second.version, files.rows_of))


def test_a_publication_may_end_at_every_step(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Stands for the end of the process."""

    fill(catalog)
    publish(catalog, tmp_path, complete=False)
    steps = [f"{step}:{when}" for step in ("manifest", "current-version") for when in TIMES]
    for number, point in enumerate(steps, 1):
        catalog.insert("spectra", [spectrum(900 + number)])

        def reached(name: str, point: str = point) -> None:
            if name == point:
                raise Killed

        monkeypatch.setattr(crash_points, "reached", reached)
        with pytest.raises(Killed):
            publish(catalog, tmp_path, complete=False)
        seen = release.current_manifest(tmp_path)
        assert seen is not None
        assert not list(release.verify(tmp_path, seen["version"], files.rows_of))
        assert rows(tmp_path) == 59 + number + (point == "current-version:after")
        monkeypatch.undo()
        done = publish(catalog, tmp_path, complete=False)
        assert rows(tmp_path) == 60 + number
        assert not list(release.verify(tmp_path, done.version, files.rows_of))


def test_an_interrupted_publication_goes_on_where_it_was(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    assert publisher(catalog, tmp_path, deadly=6).returncode == -signal.SIGKILL
    (unfinished,) = (tmp_path / "versions").iterdir()
    journal = (unfinished / release.JOURNAL).read_text().splitlines()
    noted = {json.loads(line)["path"]: json.loads(line)["entry"] for line in journal}
    inodes = {path: (unfinished / path).stat().st_ino for path in noted}
    assert len(noted) >= 4
    damaged, late = sorted(noted)[0], "spectra/year=2026/month=01/part.parquet"
    (unfinished / damaged).write_bytes(b"PAR1")
    catalog.insert("spectra", [spectrum(900)])
    done = publish(catalog, tmp_path, complete=True)
    current = (tmp_path / "current").resolve()
    for path in noted.keys() - {damaged, late}:
        assert (current / path).stat().st_ino == inodes[path]
    assert rows(tmp_path) == 61
    assert not list(release.verify(tmp_path, done.version, files.rows_of))


def test_a_full_disk_leaves_the_old_version(catalog: Catalog, small_disk: Path) -> None:
    fill(catalog)
    first = publish(catalog, small_disk, complete=False)
    random = "lower(hex(SHA256(toString(number))))"
    catalog.execute(
        "INSERT INTO spectra (spectrum_id, sha256, time_start) SELECT"
        f" substring({random}, 1, 32), {random}, toDateTime64('2026-02-02', 3) FROM numbers(40000)"
    )
    with pytest.raises(RepositoryError, match=r"cannot be written: .*No space left"):
        publish(catalog, small_disk, complete=False)
    assert kept(small_disk) == [first.version]
    assert rows(small_disk) == 60
    catalog.execute("ALTER TABLE spectra DELETE WHERE station = '' SETTINGS mutations_sync = 2")
    catalog.insert("spectra", [spectrum(900)])
    publish(catalog, small_disk, complete=False)
    assert rows(small_disk) == 61


def test_a_disk_that_is_nearly_full_is_not_written(catalog: Catalog, small_disk: Path) -> None:
    fill(catalog)
    with pytest.raises(RepositoryError, match=r"only 1 MB are free .* leaves 500 MB"):
        publish(catalog, small_disk, complete=False, floor_bytes=500_000_000)
    assert not (small_disk / "versions").exists()


def test_a_database_that_fails_midway_leaves_the_old_version(
    catalog: Catalog, tmp_path: Path
) -> None:
    fill(catalog)
    first = publish(catalog, tmp_path, complete=False)
    catalog.execute(
        "CREATE OR REPLACE VIEW spectra_now AS"
        " SELECT * REPLACE (rbw * (1 + throwIf(host_id = 4)) AS rbw) FROM spectra FINAL"
    )
    with pytest.raises(CatalogError, match="throwIf"):
        publish(catalog, tmp_path, complete=True)
    assert [each["version"] for each in release.versions(tmp_path)] == [first.version]
    assert rows(tmp_path) == 60


def test_two_publications_never_write_one_folder_at_once(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog, months=1, a_month=2)
    with release.locked(tmp_path), pytest.raises(release.Busy, match="under way"):
        publish(catalog, tmp_path, complete=False)
    assert publish(catalog, tmp_path, complete=False).written


def test_a_reader_sees_one_whole_version_while_others_are_published(
    catalog: Catalog, tmp_path: Path
) -> None:
    fill(catalog, months=2, a_month=6)
    publish(catalog, tmp_path, complete=False)
    wrong: list[str] = []
    done = threading.Event()
    looks = 0

    def read() -> None:
        nonlocal looks
        while not done.is_set():
            root = (tmp_path / "current").resolve()
            counts = {
                pads.dataset(root / name, partitioning="hive").count_rows()
                for name in ("spectra", "measurements")
            }
            looks += 1
            if len(counts) != 1:
                wrong.append(f"{root.name}: {counts}")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for n in range(5):
            catalog.insert("spectra", [spectrum(900 + n, START.replace(month=n % 2 + 1))])
            publish(catalog, tmp_path, complete=False, keep=10)
    finally:
        done.set()
        reader.join()
    assert looks
    assert wrong == []


def test_a_version_that_was_opened_can_be_read_on(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog, months=1, a_month=4)
    publish(catalog, tmp_path, complete=False, keep=2)
    opened = (tmp_path / "current").resolve()
    catalog.insert("spectra", [spectrum(900)])
    publish(catalog, tmp_path, complete=False, keep=2)
    assert pads.dataset(opened / "spectra", partitioning="hive").count_rows() == 4
    assert rows(tmp_path) == 5


@pytest.mark.slow
def test_memory_is_bounded_whatever_the_catalog_holds(catalog: Catalog, tmp_path: Path) -> None:
    catalog.execute(
        "INSERT INTO spectra (spectrum_id, sha256, time_start, profile_mean, profile_max,"
        " profile_min, profile_p90) WITH arrayMap(i -> toInt16(cityHash64(i, number)), range(1024))"
        " AS levels SELECT lower(hex(MD5(toString(number)))), lower(hex(SHA256(toString(number)))),"
        " toDateTime64('2026-02-02', 3), levels, levels, levels, levels FROM numbers(30000)"
    )
    done = publisher(catalog, tmp_path)
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path) == 30_000
    # A quarter of a gigabyte went through it.
    assert int(done.stdout) * 1024 < 300 << 20
