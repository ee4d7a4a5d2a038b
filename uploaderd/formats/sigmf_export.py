"""Traces as a SigMF recording. Needs the library `sigmf`.

SigMF knows samples of channels. A trace is one sample here, its frequency points are the channels:
`core:num_channels` real 32-bit floats (`rf32_le`) in the flow's unit, one capture segment a trace
with its time. The namespace `spectrum` adds what channels do not have: the frequency of the first
and of the last (`spectrum:start_hz`, `spectrum:stop_hz`), and the unit (`spectrum:unit`).
"""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from uploaderd.formats import FormatError, Recording, Spectrum, read, traces
from uploaderd.formats.errors import MISSING_LIBRARY, TOO_MANY_TRACES
from uploaderd.formats.flows import chosen
from uploaderd.formats.model import NO_TIME
from uploaderd.formats.times import iso

META, DATA = ".sigmf-meta", ".sigmf-data"
MAX_TRACES = 200_000
"""Traces that a recording may have: its metadata, one segment each, is held in memory."""


def write_sigmf(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    flow: int | None = None,
    clock_offset: timedelta = timedelta(0),
) -> int:
    """Writes the traces of one flow as a pair of SigMF files; returns how many there are.

    Args:
        path: the measurement file.
        out: either name of the pair (`.sigmf-meta`, `.sigmf-data`).
        flow: index into the recording's spectra; by default the flow with the most levels.
        clock_offset: how far the station's clock is ahead of UTC.

    The data is renamed into place before the metadata, so that what describes it never comes first.
    Raises FormatError if the file cannot be read, has no such flow, or more than `MAX_TRACES`
    traces in it, or if the library is missing.
    """
    try:
        from sigmf import SigMFFile
    except ImportError as error:
        sentence = "SigMF needs the Python package sigmf: install uploaderd[sigmf]."
        raise FormatError(MISSING_LIBRARY, sentence) from error
    recording = read(path, clock_offset=clock_offset)
    index = chosen(recording, Path(path).name, flow)
    spectrum = recording.spectra[index]
    if (spectrum.n_traces or 0) > MAX_TRACES:
        raise FormatError(
            TOO_MANY_TRACES,
            f"Flow {index} has more than {MAX_TRACES} traces: export it as Parquet.",
        )
    meta, data = Path(out).with_suffix(META), Path(out).with_suffix(DATA)
    part, part_meta = (Path(f"{name}.part") for name in (data, meta))
    try:
        times, digest = _write_data(path, part, index, clock_offset)
        about = _global(recording, spectrum, digest)
        document = SigMFFile(global_info=about)
        for number, time in enumerate(times):
            document.add_capture(number, metadata=_capture(recording, spectrum, time))
        document.validate()
        part_meta.write_text(document.dumps())
    except BaseException:
        part.unlink(missing_ok=True)
        part_meta.unlink(missing_ok=True)
        raise
    part.replace(data)
    part_meta.replace(meta)
    return len(times)


def _write_data(
    path: str | os.PathLike[str], part: Path, index: int, clock_offset: timedelta
) -> tuple[list[int], str]:
    """Writes the levels; gives the traces' times and the data's SHA-512."""
    times: list[int] = []
    digest = hashlib.sha512()
    with part.open("wb") as file:
        for block in traces(path, clock_offset=clock_offset):
            if block.flow == index:
                levels = np.ascontiguousarray(block.levels, "<f4").tobytes()
                digest.update(levels)
                file.write(levels)
                times += block.times.tolist()
    return times, digest.hexdigest()


def _global(recording: Recording, spectrum: Spectrum, digest: str) -> dict[str, Any]:
    known: dict[str, Any] = {
        "core:datatype": "rf32_le",
        "core:num_channels": spectrum.points,
        "core:sha512": digest,
        "core:hw": recording.receiver,
        "core:recorder": recording.method,
        "core:description": spectrum.description,
        "core:extensions": [{"name": "spectrum", "version": "1.0.0", "optional": True}],
        "spectrum:start_hz": spectrum.start_hz,
        "spectrum:stop_hz": spectrum.stop_hz,
        "spectrum:unit": spectrum.unit,
    }
    if recording.gps is not None:
        place = [recording.gps.lon, recording.gps.lat]
        if recording.gps.alt_m is not None:
            place.append(recording.gps.alt_m)
        known["core:geolocation"] = {"type": "Point", "coordinates": place}
    return {key: value for key, value in known.items() if value is not None}


def _capture(recording: Recording, spectrum: Spectrum, time: int) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if spectrum.start_hz is not None and spectrum.stop_hz is not None:
        known["core:frequency"] = (spectrum.start_hz + spectrum.stop_hz) / 2
    if time != NO_TIME:
        known["core:datetime"] = iso(time, recording.time_digits)
    return known
