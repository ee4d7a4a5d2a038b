"""A recording as plain values for JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from uploaderd.formats.model import Recording, Spectrum
from uploaderd.formats.times import iso


def as_dict(recording: Recording) -> dict[str, Any]:
    """The recording with the names of the model, times as ISO 8601 with all recorded digits.

    Members of `extra` stand beside the others; `n_spectra` and `outcome` are added; a number that
    JSON does not have (NaN) becomes `None`.
    """
    values: dict[str, Any] = {
        "outcome": recording.outcome,
        "format": recording.format,
        "format_version": recording.format_version,
        "receiver": recording.receiver,
        "method": recording.method,
        **recording.extra,
        "gps": dataclasses.asdict(recording.gps) if recording.gps else None,
        "start_ts": iso(recording.start, recording.time_digits),
        "stop_ts": iso(recording.stop, recording.time_digits),
        "clock_offset_s": recording.clock_offset_s,
        "n_spectra": len(recording.spectra),
        "spectra": [_spectrum(s, recording.time_digits) for s in recording.spectra],
        "issues": [issue.as_dict() for issue in recording.issues],
    }
    plain: dict[str, Any] = _plain(values)
    return plain


def _spectrum(spectrum: Spectrum, digits: int) -> dict[str, Any]:
    values = dataclasses.asdict(dataclasses.replace(spectrum, extra={}))
    del values["extra"]
    values["first_ts"] = iso(spectrum.first_ts, digits)
    values["last_ts"] = iso(spectrum.last_ts, digits)
    return {**values, **spectrum.extra}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
