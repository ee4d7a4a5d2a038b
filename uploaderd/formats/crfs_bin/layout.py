"""Where the fields of each CRFS spectral block lie.

Offsets count from the payload's beginning; in types 67 to 69 from the end of the description, which
begins 24 bytes into the payload.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray


class Coding(Enum):
    """How levels are stored."""

    PLAIN = "plain"
    """One byte a point: level = byte/2 + offset - 127.5."""
    INVERTED = "inverted"
    """One byte a point: level = offset - byte/2 (type 4)."""
    COMPRESSED = "compressed"
    """As plain, without the points below a threshold."""
    OCCUPANCY = "occupancy"
    """One byte a point: byte/2 per cent."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One spectral block type.

    Attributes:
        coding: how levels are stored.
        fields: NumPy dtype of the header.
        tuned: tuning entries and AGC bytes (fields `nt`, `na`) lie between header and levels.
        described: the block begins with wall time, ids and a description.
    """

    coding: Coding
    fields: np.dtype[Any]
    tuned: bool = False
    described: bool = False

    @property
    def key_fields(self) -> tuple[str, ...]:
        """The header fields that, with thread and description, make a flow."""
        return tuple(name for name in _KEY_FIELDS if name in (self.fields.names or ()))


_KEY_FIELDS: Final = (
    "start_mhz", "start_frac", "stop_mhz", "stop_frac", "exponent", "points", "rbw", "unit",
    "proc", "threshold", "antenna",
)  # fmt: skip


def _fields(size: int, **where: str) -> np.dtype[Any]:
    """A dtype of packed fields; each is given as `type@offset`."""
    parts = [value.split("@") for value in where.values()]
    return np.dtype(
        {
            "names": list(where),
            "formats": [part[0] for part in parts],
            "offsets": [int(part[1]) for part in parts],
            "itemsize": size,
        }
    )


def _band(at: int) -> dict[str, str]:
    return {
        "start_mhz": f"<u2@{at}",
        "start_frac": f"<i4@{at + 2}",
        "stop_mhz": f"<u2@{at + 6}",
        "stop_frac": f"<i4@{at + 8}",
    }


def _wide(at: int) -> dict[str, str]:
    """Start and stop of types 60 to 62, with the decimal exponent that they share."""
    return {"start_mhz": f"<u4@{at}", "stop_mhz": f"<u4@{at + 4}", "exponent": f"i1@{at + 8}"}


WALL: Final = {"wall": "(8,)u1@0", "ns": "<u4@8"}

_V3: Final = {
    **WALL, **_wide(12), "antenna": "u1@21", "error": "i1@22", "proc": "u1@26", "offset": "i1@28",
    "nt": "<u2@30", "na": "<u2@32",
}  # fmt: skip
_V4: Final = {
    **WALL, **_band(12), "antenna": "u1@36", "proc": "u1@37", "unit": "u1@38", "offset": "i1@39",
    "error": "i1@40", "nt": "<u2@43", "na": "<u2@45",
}  # fmt: skip
_V5: Final = {
    **_band(0), "rbw": "<i4@12", "antenna": "u1@28", "proc": "u1@29", "unit": "u1@30",
    "offset": "i1@31", "error": "i1@32", "nt": "<u2@35", "na": "<u2@37",
}  # fmt: skip

LAYOUTS: Final[dict[int, Layout]] = {
    4: Layout(
        Coding.INVERTED,
        _fields(
            12, start_mhz="<u2@0", stop_mhz="<u2@2", offset="i1@4", antenna="u1@5", proc="u1@6",
            points="<u4@8",
        ),
    ),
    7: Layout(
        Coding.COMPRESSED,
        _fields(
            40, start_mhz="<i4@0", stop_mhz="<i4@4", offset="<i4@8", threshold="<i4@12",
            antenna="<i4@16", proc="<i4@20", points="<u4@28", nc="<u4@36",
        ),
    ),
    8: Layout(
        Coding.OCCUPANCY,
        _fields(
            40, start_mhz="<i4@0", stop_mhz="<i4@4", threshold="<i4@8", wall="(8,)u1@12",
            duration="<i4@20", antenna="<i4@24", points="<u4@36",
        ),
    ),
    60: Layout(Coding.PLAIN, _fields(40, **_V3, points="<u4@36"), tuned=True),
    61: Layout(
        Coding.COMPRESSED,
        _fields(48, **_V3, nc="<u4@36", threshold="<i4@40", points="<u4@44"),
        tuned=True,
    ),
    62: Layout(
        Coding.OCCUPANCY,
        _fields(
            44, **WALL, **_wide(12), antenna="u1@21", error="i1@22", threshold="<i2@26",
            duration="<i4@32", points="<u4@40",
        ),
    ),
    63: Layout(Coding.PLAIN, _fields(52, **_V4, points="<u4@48"), tuned=True),
    64: Layout(
        Coding.COMPRESSED,
        _fields(60, **_V4, nc="<u4@48", threshold="<i4@52", points="<u4@56"),
        tuned=True,
    ),
    65: Layout(
        Coding.OCCUPANCY,
        _fields(
            48, **WALL, **_band(12), antenna="u1@32", error="i1@36", threshold="<i2@40",
            duration="<u2@42", points="<u4@44",
        ),
    ),
    67: Layout(Coding.PLAIN, _fields(44, **_V5, points="<u4@40"), tuned=True, described=True),
    68: Layout(
        Coding.COMPRESSED,
        _fields(52, **_V5, nc="<u4@40", threshold="<i4@44", points="<u4@48"),
        tuned=True,
        described=True,
    ),
    69: Layout(
        Coding.OCCUPANCY,
        _fields(
            40, **_band(0), rbw="<i4@12", antenna="u1@25", error="i1@28", threshold="<i2@32",
            duration="<u2@34", points="<u4@36",
        ),
        described=True,
    ),
}  # fmt: skip

DESCRIBED_PREFIX: Final = 24
"""Bytes of a described payload before its description."""

PROCESSING: Final = ("single", "average", "peak", "minimum")
UNITS: Final = ("dBm", "dBuV/m")


def hertz(layout: Layout, header: NDArray[Any], edge: str) -> int:
    """Frequency of `start` or `stop` in one header (a structured scalar), rounded to whole Hz."""
    whole = int(header[f"{edge}_mhz"])
    names = layout.fields.names or ()
    if "exponent" in names:
        exponent = int(header["exponent"])
        # A frequency beyond 10^15 Hz is nonsense; the bound keeps the power small.
        return whole * 10**exponent if 0 <= exponent <= 9 else round(whole / 10.0**-exponent)
    fraction = int(header[f"{edge}_frac"]) if f"{edge}_frac" in names else 0
    return whole * 1_000_000 + round(fraction / 1000)
