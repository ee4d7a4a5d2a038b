"""The catalog: our writer against the driver's bare column insert, and answers against their goals.

Everything runs on the embedded engine in a folder of its own. Percentiles are over all answers of
a query's rounds, at different stations, bands and periods; the reference of each is its goal.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from clickhouse_driver import Client

from bench import _generated
from lab import database as lab_database
from uploaderd.catalog import Catalog, cookbook
from uploaderd.catalog.migrate import migrate
from uploaderd.catalog.rows import SpectrumRow
from uploaderd.catalog.status import host_status
from uploaderd.config.settings import DatabaseSettings

BLOCK = 100_000
ROUNDS = 5
REPEATED = 3
"""Inserts of the rows by a process, so that its start does not count."""
TIMES = ("time_start", "time_stop", "ingested_at")
STATION_FILES = 1_000_000
PROFILED = "rfeye002000"
"""The station whose spectra of the first month have level profiles, of 1,024 bins."""
OF_PROFILES = ("busiest_hours", "occupancy", "spectrum", "waterfall")
MONITORED = 7
"""The station whose status is asked for."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """How much is generated."""
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows to generate")
    parser.add_argument("--all", action="store_true", help="ten times as many, too")


def run(choice: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Writer, bytes a row, cookbook and status."""
    sizes = (choice.rows, 10 * choice.rows) if choice.all else (choice.rows,)
    var = Path(__file__).parent.parent / "var"
    var.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=var, prefix="bench-") as name:
        server = lab_database.start(Path(name) / "database")
        settings = replace(server.settings, database="bench", timeout_s=3600.0)
        try:
            migrate(settings)
            with Catalog(settings) as catalog:
                yield from _writer(catalog)
                catalog.execute("TRUNCATE TABLE spectra")
                done = 0
                for size in sizes:
                    _generated.spectra(catalog, size - done, first=done, profiles=False)
                    _generated.ledger(catalog, size // 6, first=done // 6)
                    done = size
                    yield from _size(catalog, size)
                    _generated.profiles(catalog, PROFILED, "2025-02-01")
                    yield from _cookbook(catalog, size)
                for table in ("spectra", "files", "host_events"):
                    catalog.execute(f"TRUNCATE TABLE {table}")
                yield from _status(catalog, sizes[-1])
        finally:
            server.stop()


def _writer(catalog: Catalog) -> Iterator[dict[str, Any]]:
    """Ours and the bare driver take turns with the same rows; medians of their rates."""
    _generated.spectra(catalog, BLOCK)
    names = [field.name for field in fields(SpectrumRow)]
    found = catalog.query(f"SELECT {', '.join(names)} FROM spectra LIMIT {BLOCK}")
    for row in found:
        # As our own rows have them: the driver's times have a zone that takes longer to ask.
        row.update({name: row[name].astimezone(UTC) for name in TIMES})
    rows = [SpectrumRow(**row) for row in found]
    lists = [[row[name] for row in found] for name in names]
    plain = [name for name in names if not name.startswith("profile")]
    types = {name: kind for name, kind, _ in catalog.columns("spectra")}
    arrays = [_array(types[name], [row[name] for row in found]) for name in plain]
    settings = catalog.settings
    with (
        Client("127.0.0.1", settings.port, database="bench") as bare,
        Catalog(settings) as other,
    ):
        sql = "INSERT INTO spectra ({}) VALUES"
        block = {"insert_block_size": 10_000_000}

        def of_lists() -> None:
            bare.execute(sql.format(", ".join(names)), lists, columnar=True, settings=block)

        def of_arrays() -> None:
            wishes = {**block, "use_numpy": True}
            bare.execute(sql.format(", ".join(plain)), arrays, columnar=True, settings=wishes)

        def both() -> None:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda one: one.insert_columns("spectra", plain, arrays),
                              (catalog, other)))  # fmt: skip

        def threads() -> None:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda _: catalog.insert("spectra", rows), range(2 * REPEATED)))

        def processes() -> None:
            fork = multiprocessing.get_context("fork").Process
            begun = [fork(target=_fresh, args=(settings, rows)) for _ in range(2)]
            for one in begun:
                one.start()
            for one in begun:
                one.join()
                assert one.exitcode == 0, "a writer has failed"

        ours, driver = _turns(lambda: catalog.insert("spectra", rows), of_lists)
        yield _result("rows through group commit", ours, driver, "driver, columns of objects")
        for case, call in (("two threads", threads), ("two processes", processes)):
            two, _ = _turns(call, lambda: None)
            yield _result(f"rows, {case}", 2 * REPEATED * two, 200_000, "goal")
        ours, driver = _turns(lambda: catalog.insert_columns("spectra", plain, arrays), of_arrays)
        yield _result("NumPy columns", ours, driver, "driver, NumPy columns")
        two, _ = _turns(both, lambda: None)
        yield _result("NumPy columns, two writers", 2 * two, 200_000, "goal")


def _fresh(settings: DatabaseSettings, rows: Sequence[SpectrumRow]) -> None:
    """Inserts the rows over a connection of its own, as each service process does."""
    with Catalog(settings) as catalog:
        for _ in range(REPEATED):
            catalog.insert("spectra", rows)


def _array(kind: str, values: Sequence[Any]) -> Any:
    if kind.startswith("DateTime"):
        return np.array([one.replace(tzinfo=None) for one in values], dtype="datetime64[ns]")
    if "String" in kind:
        return np.array(values, dtype=object)
    return np.array(values, dtype=kind.lower())


def _turns(ours: Callable[[], None], theirs: Callable[[], None]) -> tuple[float, float]:
    """Median rows a second of each."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for times, call in zip(taken, (ours, theirs), strict=True):
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
    mine, other = (BLOCK / statistics.median(times) for times in taken)
    return mine, other


def _size(catalog: Catalog, rows: int) -> Iterator[dict[str, Any]]:
    """Bytes a row on disk, as merged as the engine found time for."""
    stored = catalog.query(
        "SELECT sum(data_compressed_bytes) / sum(rows) AS each FROM system.parts"
        " WHERE database = currentDatabase() AND table = 'spectra' AND active"
    )[0]["each"]
    yield _result(f"bytes a row, {rows} spectra", stored, 40, "goal", unit="bytes")


_PROFILES = {"station": PROFILED, "since": "2025-01-02", "until": "2025-02-01"}


def _cookbook(catalog: Catalog, rows: int) -> Iterator[dict[str, Any]]:
    """Each query as an analyst asks it: a station, a band and a month, or a spectrum's file."""
    chance = random.Random(rows)
    days = max(1, rows // 6 // _generated.STATIONS // 96)
    for name, query in cookbook.queries().items():
        taken = []
        for _ in range(ROUNDS * 2):
            given = _asked(chance, days) | (_PROFILES if name in OF_PROFILES else {})
            if name == "occupancy":
                # An answer for each hour and channel: the month of the widest band has 164,000.
                given["until"] = "2025-01-09"
            if name == "raw_file":
                given["spectrum_id"] = _some_id(chance.randrange(rows))
            wanted = {p.name: given[p.name] for p in query.parameters if p.name in given}
            taken.append(_seconds(functools.partial(cookbook.run, catalog, name, wanted)))
        yield from _percentiles(f"{name}, {rows} spectra", taken, 1.0)


def _some_id(number: int) -> str:
    """The id of one of the generated spectra."""
    content = hashlib.sha256(str(number // 6).encode()).hexdigest()
    return f"{content[:24]}{number % 6:08}"


def _asked(chance: random.Random, days: int) -> dict[str, str]:
    low, high = chance.choice([(88, 108), (108, 137), (470, 698)])
    since = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(chance.randrange(max(1, days - 30)))
    return {
        "since": f"{since:%Y-%m-%d}",
        "until": f"{since + timedelta(30):%Y-%m-%d}",
        "station": f"rfeye{2000 + chance.randrange(_generated.STATIONS):06d}",
        "low": str(low * 1_000_000),
        "high": str(high * 1_000_000 - 1),
    }


def _status(catalog: Catalog, others: int) -> Iterator[dict[str, Any]]:
    """A station of a million files and a year of events among `others`; then newer rows of its last
    files; then of one in twenty of them all, not merged."""
    _generated.year_of_events(catalog, MONITORED)
    _generated.files(catalog, STATION_FILES, host=MONITORED)
    _generated.files(catalog, others, host=10_000, hosts=_generated.STATIONS)
    of = f"{STATION_FILES} files of {STATION_FILES + others}"
    yield from _asked_for(catalog, f"status, {of}")
    _generated.files(catalog, 20_000, host=MONITORED, first=STATION_FILES - 10_000, stage="fetched")
    yield from _asked_for(catalog, f"status, {of}, newest 20000 written again")
    catalog.execute("SYSTEM STOP MERGES files")
    catalog.execute(
        "INSERT INTO files SELECT * REPLACE (version + 1 AS version) FROM files"
        f" WHERE host_id = {MONITORED} AND cityHash64(file_id) % 20 = 0"
    )
    yield from _asked_for(catalog, f"status, {of}, one in 20 written again")
    catalog.execute("SYSTEM START MERGES files")


def _asked_for(catalog: Catalog, case: str) -> Iterator[dict[str, Any]]:
    first = _seconds(lambda: host_status(catalog, host_id=MONITORED))
    yield _result(f"{case}, first answer", first * 1e3, 20, "goal", unit="ms", runs=1)
    taken = [_seconds(lambda: host_status(catalog, host_id=MONITORED)) for _ in range(50)]
    yield from _percentiles(case, taken, 0.02)


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _percentiles(case: str, taken: Sequence[float], goal: float) -> Iterator[dict[str, Any]]:
    cuts = statistics.quantiles(taken, n=20, method="inclusive")
    for name, seconds in (("p50", cuts[9]), ("p95", cuts[18])):
        yield _result(
            f"{case}, {name}", seconds * 1e3, goal * 1e3, "goal", unit="ms", runs=len(taken)
        )


def _result(
    case: str,
    ours: float,
    reference: float,
    name: str,
    *,
    unit: str = "rows/s",
    runs: int = ROUNDS,
) -> dict[str, Any]:
    return {
        "case": case,
        "ours": round(ours, 2),
        "reference": round(reference, 2),
        "reference_name": name,
        "ratio": round(ours / reference, 4),
        "unit": unit,
        "runs": runs,
    }
