"""Rows for the tests of publications."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from uploaderd.catalog import Catalog
from uploaderd.catalog.ids import file_id, spectrum_id
from uploaderd.catalog.rows import FileRow, HostRow, SiteRow, SpectrumRow

START = datetime(2026, 1, 1, tzinfo=UTC)


def sha256(number: int) -> str:
    """The hash of file `number`'s content."""
    return hashlib.sha256(b"%d" % number).hexdigest()


def spectrum(number: int, start: datetime = START, **changed: Any) -> SpectrumRow:
    """A spectrum of file `number`, a minute long."""
    values: dict[str, Any] = {
        "spectrum_id": spectrum_id(sha256(number), 0),
        "file_id": file_id(number % 5, f"/d/{number}", 9, 8),
        "sha256": sha256(number),
        "host_id": number % 5,
        "station": f"rfeye{number % 5}",
        "flow": 0,
        "freq_start": 88_000_000,
        "freq_stop": 108_000_000,
        "time_start": start,
        "time_stop": start + timedelta(minutes=1),
        "traces": 60,
        "points": 4,
        "rbw": 10_000.0,
        "unit": "dBm",
        "site_id": "site",
        "profile_mean": [-1000 - number % 50, -32768, 0, 256],
        "level_max": -20.5,
        "ingested_at": START,
    }
    return SpectrumRow(**(values | changed))


def file(number: int, mtime: datetime = START, **changed: Any) -> FileRow:
    """The ledger's row of file `number`."""
    values: dict[str, Any] = {
        "host_id": number % 5,
        "file_id": file_id(number % 5, f"/d/{number}", 9, 8),
        "remote_path": f"/d/{number}",
        "size": 1000 + number,
        "mtime_ns": int(mtime.timestamp()) * 10**9,
        "stage": "processed",
        "path": f"2026/BA/{number}.bin",
        "processed_at": START,
        "version": 1,
    }
    return FileRow(**(values | changed))


def fill(catalog: Catalog, months: int = 3, a_month: int = 20) -> list[SpectrumRow]:
    """Stations, a site, files and spectra of some months, each spectrum in a file of its own."""
    moments = [START.replace(month=n % months + 1) for n in range(months * a_month)]
    spectra = [spectrum(n, moment) for n, moment in enumerate(moments)]
    catalog.insert("spectra", spectra)
    catalog.insert("files", [file(n, moment) for n, moment in enumerate(moments)])
    catalog.insert("hosts", [HostRow(n, f"rfeye{n}", equipment_type="RFeye") for n in range(5)])
    catalog.insert("sites", [SiteRow("site", -12.9, -38.4, 8.0, 1, name="Salvador", state="BA")])
    return spectra
