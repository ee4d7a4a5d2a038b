"""ITU-R SM.1809 text, as written by appAnalise; see docs/formats/sm1809.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from uploaderd.formats.decimals import row
from uploaderd.formats.errors import INVALID_METADATA, FormatError
from uploaderd.formats.fill import with_statistics
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.model import Position, ReadOptions, Recording, Spectrum, TraceBlock
from uploaderd.formats.positions import median_position
from uploaderd.formats.registry import Format
from uploaderd.formats.times import one_civil_to_ns

MAX_LINE = 1 << 26
"""Bytes of a line beyond which a file is no SM.1809."""
MAX_HEADER_LINES = 1000
MANDATORY = ("FreqStart", "FreqStop", "DataPoints", "Date")
DAY_NS = 86_400 * 10**9

_CLOCK = re.compile(rb"\s*(\d\d):(\d\d):(\d\d)\Z")
_ANGLE = re.compile(r"(\d{1,3})\.(\d{1,2})\.(\d{1,2})([NSEW])", re.ASCII)


@dataclass(frozen=True)
class _Band:
    """One band as the header describes it."""

    start_hz: float
    stop_hz: float
    points: int
    texts: dict[str, str]

    def text(self, *keys: str) -> str | None:
        return next((self.texts[key] for key in keys if self.texts.get(key)), None)

    def number(self, key: str) -> float | None:
        value = _number(self.texts.get(key, ""))
        return value if value is not None and value > 0 else None


class _Scan(NamedTuple):
    """The levels of one band in one scan line, still as text."""

    band: int
    time: int
    fields: bytes


def sniff(head: bytes, path: Path) -> bool:
    """`FileType` first, then FreqStart, FreqStop and DataPoints before the first empty line."""
    del path
    text = head.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n\n")[0]
    keys = {line.split(b" ", 1)[0] for line in text.split(b"\n")}
    return text.startswith(b"FileType") and {b"FreqStart", b"FreqStop", b"DataPoints"} <= keys


def read(path: Path, options: ReadOptions) -> Recording:
    """The recording; one spectrum a band, in the header's order.

    Raises FormatError `invalid_metadata` if a mandatory key is missing or cannot be read.
    """
    log = IssueLog()
    header = _header(path)
    bands = _bands(header)
    counts, firsts, lasts = [0] * len(bands), [0] * len(bands), [0] * len(bands)
    for scan in _scans(path, header, bands, log):
        if not counts[scan.band]:
            firsts[scan.band] = scan.time
        counts[scan.band] += 1
        lasts[scan.band] = scan.time
    offset = options.clock_offset_ns
    spectra = tuple(
        _spectrum(header, band, count, first - offset, last - offset)
        for band, count, first, last in zip(bands, counts, firsts, lasts, strict=True)
        if count
    )
    if not spectra:
        log.add("no_spectrum")
    if options.statistics:
        spectra = with_statistics(spectra, traces(path, options))
    return Recording(
        format=FORMAT.name,
        format_version="1",
        receiver=header.get("Receiver") or header.get("Node") or None,
        method=header.get("TaskName") or None,
        spectra=spectra,
        gps=_position(header),
        issues=log.result(),
        time_digits=0,
        clock_offset_s=options.clock_offset.total_seconds(),
        extra={"location_name": header.get("LocationName") or None},
    )


def traces(path: Path, options: ReadOptions) -> Iterator[TraceBlock]:
    """Decoded traces, scan after scan; an unreadable level is NaN."""
    header = _header(path)
    bands = _bands(header)
    present = {scan.band for scan in _scans(path, header, bands, IssueLog())}
    flow_of = {band: flow for flow, band in enumerate(sorted(present))}
    for scan in _scans(path, header, bands, IssueLog()):
        levels = row(scan.fields).astype(np.float32)
        time = np.array([scan.time - options.clock_offset_ns], np.int64)
        yield TraceBlock(flow_of[scan.band], time, levels[None, :])


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            yield line.rstrip(b"\r\n")
            if len(line) == MAX_LINE:
                return


def _header(path: Path) -> dict[str, str]:
    header: dict[str, str] = {}
    for number, line in enumerate(_lines(path)):
        if not line.strip() or number >= MAX_HEADER_LINES:
            break
        key, _, value = line.decode("utf-8", "replace").lstrip("\ufeff").partition(" ")
        header.setdefault(key, value.strip())
    return header


def _bands(header: dict[str, str]) -> list[_Band]:
    missing = [key for key in MANDATORY if not header.get(key)]
    if missing:
        raise FormatError(INVALID_METADATA, f"The header lacks {', '.join(missing)}.")
    count = len(header["FreqStart"].split(";"))
    each = {key: _split(value, count) for key, value in header.items()}
    bands = []
    for index in range(count):
        texts = {key: values[index] for key, values in each.items()}
        numbers = [_number(texts[key]) for key in ("FreqStart", "FreqStop", "DataPoints")]
        start, stop, points = (-1.0 if number is None else number for number in numbers)
        if not (0 <= start <= stop < 1e12 and points == int(points) and 0 < points < MAX_LINE):
            raise FormatError(INVALID_METADATA, "FreqStart, FreqStop or DataPoints is no number.")
        bands.append(_Band(start * 1e3, stop * 1e3, int(points), texts))
    return bands


def _split(value: str, count: int) -> list[str]:
    parts = value.split(";")
    # A text may itself contain a semicolon: then it belongs to all bands.
    return [part.strip() for part in parts] if len(parts) == count else [value] * count


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _scans(
    path: Path, header: dict[str, str], bands: list[_Band], log: IssueLog
) -> Iterator[_Scan]:
    day = _day(header["Date"])
    before = None
    in_header = True
    for number, line in enumerate(_lines(path), start=1):
        if in_header or not line.strip():
            in_header = in_header and bool(line.strip())
            continue
        parts = line.split(b";")
        first, _, rest = parts[0].partition(b",")
        clock = _clock(first)
        if clock is None:
            log.add("bad_row", line=number)
            continue
        # Only a great step back is midnight: fast scans share a second, clocks are set.
        if before is not None and before - clock > DAY_NS // 2:
            day += DAY_NS
        before = clock
        parts[0] = rest
        whole = len(parts) == len(bands)
        for index, (band, part) in enumerate(zip(bands, parts, strict=False)):
            fields = part.strip().removeprefix(b",")
            if fields and fields.count(b",") + 1 == band.points:
                yield _Scan(index, day + clock, fields)
            else:
                whole = False
        if not whole:
            log.add("bad_row", line=number)


def _clock(text: bytes) -> int | None:
    match = _CLOCK.match(text)
    if not match:
        return None
    hour, minute, second = (int(part) for part in match.groups())
    if hour > 23 or minute > 59 or second > 60:
        return None
    return (hour * 3600 + minute * 60 + second) * 10**9


def _day(text: str) -> int:
    match = re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", text, re.ASCII)
    if match:
        year, month, day = (int(part) for part in match.groups())
        time = one_civil_to_ns((year, month, day), (0, 0, 0))
        if time is not None:
            return time
    raise FormatError(INVALID_METADATA, "Date is no day of the form YYYY-MM-DD.")


def _spectrum(header: dict[str, str], band: _Band, count: int, first: int, last: int) -> Spectrum:
    rbw = band.number("FilterBandwidth")
    interval = band.number("ScanTime")
    ident = _number(band.text("ThreadID", "ID") or "")
    unit = band.text("LevelUnits")
    return Spectrum(
        id=None if ident is None else int(ident),
        description=band.text("Description"),
        start_hz=round(band.start_hz),
        stop_hz=round(band.stop_hz),
        points=band.points,
        n_traces=count,
        first_ts=first,
        last_ts=last,
        step_hz=(band.stop_hz - band.start_hz) / (band.points - 1) if band.points > 1 else None,
        rbw_hz=None if rbw is None else rbw * 1e3,
        unit=None if unit is None else unit.replace("\u00b5", "u").replace("\u03bc", "u"),
        processing=band.text("TraceMode"),
        detector=band.text("Detector"),
        antenna=header.get("AntennaType") or None,
        extra={"scan_interval_s": interval},
    )


def _position(header: dict[str, str]) -> Position | None:
    lat, lon = _angle(header.get("Latitude", "")), _angle(header.get("Longitude", ""))
    if lat is None or lon is None:
        return None
    return median_position(lat, lon, source="header")


def _angle(text: str) -> float | None:
    match = _ANGLE.fullmatch(text.strip())
    if not match:
        return None
    degrees, minutes, seconds = (int(part) for part in match.groups()[:3])
    value = degrees + minutes / 60 + seconds / 3600
    return -value if match[4] in "SW" else value


FORMAT = Format(
    name="sm1809",
    title="ITU-R SM.1809 text",
    extensions=(".sm1809", ".txt"),
    sniff=sniff,
    read=read,
    traces=traces,
)
