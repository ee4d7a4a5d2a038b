"""Publication of spectra against pyarrow writing the same columns, in the same way, from memory.

Ours reads from the embedded database, in order, hashes, fsyncs and reads back. Rows are spread over
ten years, a file a month, with 64 bins in each of the four profiles. They came month by month, as
rows do, each month in several inserts; the database has merged what it wanted to merge.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lab import database as lab_database
from uploaderd.catalog import Catalog
from uploaderd.catalog.migrate import migrate
from uploaderd.publishing import datasets, files

ROWS = int(os.environ.get("BENCH_PUBLISH_ROWS", "1000000"))
MONTHS = 120
INSERTS = 4
"""A month's."""
FILL = """
INSERT INTO spectra (spectrum_id, file_id, sha256, host_id, station, freq_start, freq_stop,
    time_start, time_stop, traces, points, rbw, unit, detector, level_min, level_mean, level_max,
    profile_mean, profile_max, profile_min, profile_p90)
WITH cityHash64(number) AS random,
    arrayMap(i -> toInt16(-1000 + cityHash64(i, number) % 200), range(64)) AS levels,
    addMonths(toDateTime64('2016-01-01', 3, 'UTC'), {month}) AS start
SELECT lower(hex(MD5(toString(number)))), lower(hex(MD5(toString(intDiv(number, 3))))),
    lower(hex(SHA256(toString(number)))), random % 400, concat('rfeye', toString(random % 400)),
    1000000 * (88 + random % 20), 108000000, start + toIntervalSecond(random % 2000000),
    start + toIntervalSecond(random % 2000000 + 60), 60, 1024, 10000, 'dBm', 'rms',
    -120 + random % 100 / 10, -100 + random % 100 / 10, -30 + random % 100 / 10,
    levels, levels, levels, levels
FROM numbers({first}, {count})
"""
PUBLISHER = """
import resource, sys, time
from pathlib import Path
from uploaderd.catalog import Catalog
from uploaderd.config.settings import DatabaseSettings
from uploaderd.publishing.parquet import publish

settings = DatabaseSettings(port=int(sys.argv[1]), database="bench", timeout_s=600.0)
with Catalog(settings) as catalog:
    begin = time.perf_counter()
    publish(catalog, Path(sys.argv[2]), complete=sys.argv[3] == "complete", dataset="spectra")
    print(time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def run() -> Iterator[dict[str, Any]]:
    """Rows a second of a complete publication, the share that one changed month costs, and MiB."""
    var = Path(__file__).parent.parent / "var"
    var.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=var, prefix="bench-") as name:
        server = lab_database.start(Path(name) / "database")
        try:
            yield from _measured(server, Path(name))
        finally:
            server.stop()


def _measured(server: lab_database.Database, root: Path) -> Iterator[dict[str, Any]]:
    settings = replace(server.settings, database="bench", timeout_s=600.0)
    migrate(settings)
    with Catalog(settings) as catalog:
        _fill(catalog)
        complete, memory = _published(settings.port, root / "published", "complete")
        bare = _bare(root / "published", root / "bare")
        catalog.execute(FILL.format(month=0, first=ROWS, count=1))
        changed, _ = _published(settings.port, root / "published", "incremental")
        nothing, _ = _published(settings.port, root / "published", "incremental")
    rows = ROWS // MONTHS // INSERTS * INSERTS * MONTHS
    of = f"{rows} spectra in {MONTHS} months"
    yield _result(f"complete, {of}", rows / complete, rows / bare, "bare pyarrow write", "rows/s")
    yield _result("one month changed", changed, complete, "complete publication", "s")
    yield _result("nothing changed", nothing, complete, "complete publication", "s")
    yield _result("peak memory, complete", memory, 300.0, "bound", "MiB")


def _fill(catalog: Catalog) -> None:
    """Makes the rows, and waits until the database merges nothing."""
    count = ROWS // MONTHS // INSERTS
    for number in range(MONTHS * INSERTS):
        month = number // INSERTS
        catalog.execute(FILL.format(month=month, first=number * count, count=count))
    while catalog.query("SELECT count() AS n FROM system.merges")[0]["n"]:
        time.sleep(1.0)


def _published(port: int, folder: Path, mode: str) -> tuple[float, float]:
    """Seconds and MiB of a publication in a process of its own."""
    command = [sys.executable, "-c", PUBLISHER, str(port), str(folder), mode]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


def _bare(published: Path, folder: Path) -> float:
    """Seconds for writing the published tables again, from memory."""
    order = datasets.chosen("spectra")[0].order
    folder.mkdir()
    seconds = 0.0
    for number, path in enumerate(sorted((published / "current").resolve().rglob("*.parquet"))):
        file = pq.ParquetFile(path)
        table, group = file.read(), file.metadata.row_group(0).num_rows
        begin = time.perf_counter()
        options = files.options(table.schema, order)
        with pq.ParquetWriter(folder / f"{number}", table.schema, **options) as writer:
            writer.write_table(table, row_group_size=group)
        seconds += time.perf_counter() - begin
    return seconds


def _result(case: str, ours: float, reference: float, name: str, unit: str) -> dict[str, Any]:
    return {
        "case": case,
        "ours": round(ours, 3),
        "reference": round(reference, 3),
        "reference_name": name,
        "ratio": round(ours / reference, 4),
        "unit": unit,
        "runs": 1,
    }
