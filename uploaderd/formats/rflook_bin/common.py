"""What both layouts of RFlook files share."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.model import NO_TIME, Position
from uploaderd.formats.times import civil_to_ns

NAME: Final = "rflook_bin"
SIGNATURE: Final = 15
"""Bytes of the signature, e.g. `RFlookBin v.2/1`."""
TIME_DIGITS: Final = 3
TRACE_MODES: Final = {1: "ClearWrite", 2: "Average", 3: "MaxHold", 4: "MinHold"}
DETECTORS: Final = {
    0: "Sample", 1: "Sample", 2: "Average/RMS", 3: "Positive Peak", 4: "Negative Peak",
}  # fmt: skip
UNITS: Final = {1: "dBm", 2: "dBuV", 3: "dBuV/m"}

_SCALES: Final = {"hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9}
_FREQUENCY: Final = re.compile(r"\s*([0-9.]+)\s*([kMG]?Hz)\s*", re.IGNORECASE)


def times(stamps: NDArray[Any]) -> NDArray[np.int64]:
    """Stamps with fields `date` (year - 2000, month, day, hour, minute, second) and `ms`."""
    year, month, day, hour, minute, second = stamps["date"].T.astype(np.int64)
    nanoseconds = stamps["ms"].astype(np.int64) * 1_000_000
    found, valid = civil_to_ns((year + 2000, month, day), (hour, minute, second), nanoseconds)
    return np.where(valid, found, NO_TIME)


def text_object(raw: bytes) -> dict[str, Any] | None:
    """A JSON object, or `None` if it is none; NUL padding is allowed."""
    try:
        value = json.loads(raw.rstrip(b"\0 ").decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def text(value: Any) -> str | None:
    """A non-empty text, or `None`."""
    return value if isinstance(value, str) and value else None


def number(value: Any) -> float | None:
    """A finite number, or `None`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        finite = math.isfinite(value)
    except OverflowError:
        return None
    return float(value) if finite else None


def hertz(value: Any) -> float | None:
    """A frequency written as number of Hz or as text, `30.000 kHz`; `auto` is `None`."""
    if isinstance(value, str):
        match = _FREQUENCY.fullmatch(value)
        if match is None or match.group(1).count(".") > 1 or match.group(1) == ".":
            return None
        return float(match.group(1)) * _SCALES[match.group(2).lower()]
    return number(value)


def unit(value: Any) -> str | None:
    """The unit in ASCII: both micro signs become `u`."""
    spelled = text(value)
    return spelled.replace("\u00b5", "u").replace("\u03bc", "u") if spelled else None


def antenna(value: Any) -> str | None:
    """An antenna's name, from a text or an object with `Name`."""
    return text(value.get("Name")) if isinstance(value, dict) else text(value)


def fixed_position(lat: Any, lon: Any) -> Position | None:
    """A stated position; minus one in both is "none"."""
    north, east = number(lat), number(lon)
    if north is None or east is None or (north, east) == (-1, -1):
        return None
    if abs(north) > 90 or abs(east) > 180:
        return None
    return Position(north, east, None, 1, None, "header")


def step(start: int | None, stop: int | None, points: int) -> float | None:
    """Distance of neighbouring points, Hz."""
    if start is None or stop is None or points < 2:
        return None
    return (stop - start) / (points - 1)
