"""Capture segments of a SigMF document: one spectrum each, and where they were captured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from uploaderd.formats.issues import IssueLog
from uploaderd.formats.model import Position, Spectrum
from uploaderd.formats.positions import median_position
from uploaderd.formats.sigmf_recording.source import Source
from uploaderd.formats.sigmf_recording.values import (
    DATATYPE,
    fix,
    natural,
    number,
    sample_start,
    text,
    time,
)


def captures_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The captures; a document without any has one, from sample 0 on."""
    return document["captures"] or [{"core:sample_start": 0}]


def spectra(source: Source, first_id: int, log: IssueLog) -> list[Spectrum]:
    """One spectrum for each capture segment, numbered from `first_id` on."""
    captures = captures_of(source.document)
    total = _total_samples(source, captures, log)
    starts = [sample_start(capture) for capture in captures]
    stops = [*starts[1:], total]
    segments = zip(captures, starts, stops, strict=True)
    about = source.document["global"]
    return [
        _spectrum(first_id + index, about, capture, start, stop)
        for index, (capture, start, stop) in enumerate(segments)
    ]


def position(documents: Iterable[Mapping[str, Any]]) -> Position | None:
    """Median of the captures' positions; where no capture has one, of the files'."""
    documents = list(documents)
    fixes = [p for d in documents for capture in captures_of(d) if (p := fix(capture))]
    source = "records" if fixes else "header"
    fixes = fixes or [p for d in documents if (p := fix(d["global"]))]
    if not fixes:
        return None
    lons, lats, alts = zip(*fixes, strict=True)
    return median_position(lats, lons, alts if None not in alts else None, source=source)


def _total_samples(source: Source, captures: list[dict[str, Any]], log: IssueLog) -> int | None:
    if source.data is None:
        return None
    about = source.document["global"]
    match = DATATYPE.fullmatch(about["core:datatype"])
    assert match is not None, "checked when the document was read"
    channels = max(1, natural(about, "core:num_channels", 1))
    width = int(match[3]) // 8 * (2 if match[1] == "c" else 1) * channels
    other = sum(natural(capture, "core:header_bytes", 0) for capture in captures)
    payload = max(0, source.data.size - other - natural(about, "core:trailing_bytes", 0))
    if payload % width:
        log.add("truncated", bytes=payload % width)
    return payload // width + natural(about, "core:offset", 0)


def _spectrum(
    id_: int, about: Mapping[str, Any], capture: Mapping[str, Any], start: int, stop: int | None
) -> Spectrum:
    rate = number(about, "core:sample_rate")
    rate = rate if rate is not None and rate > 0 else None
    centre = number(capture, "core:frequency")
    samples = max(0, stop - start) if stop is not None else None
    first = time(capture)
    last = None
    if first is not None and samples is not None and rate and samples / rate < 1e9:
        last = first + timedelta(seconds=samples / rate) // timedelta(microseconds=1) * 1000
    banded = about["core:datatype"].startswith("c") and centre is not None and rate is not None
    return Spectrum(
        id=id_,
        description=text(about, "core:description"),
        start_hz=math.floor(centre - rate / 2 + 0.5) if banded and centre and rate else None,
        stop_hz=math.floor(centre + rate / 2 + 0.5) if banded and centre and rate else None,
        points=None,
        n_traces=None,
        first_ts=first,
        last_ts=last,
        extra={
            "center_hz": centre,
            "sample_rate_hz": rate,
            "datatype": about["core:datatype"],
            "n_samples": samples,
        },
    )
