"""Writes a SigMF pair: metadata beside samples of complex 16-bit integers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

BYTES_A_SAMPLE = 4


def write(
    meta: Path, sample_rate_hz: float, captures: Sequence[tuple[int, float, datetime]], total: int
) -> None:
    """Writes `meta`, and the data file of `total` zero samples beside it.

    A capture is its first sample, its centre in Hz and its time in UTC.
    """
    document = {
        "global": {
            "core:datatype": "ci16_le",
            "core:sample_rate": sample_rate_hz,
            "core:version": "1.2.5",
            "core:hw": "Generated receiver",
            "core:recorder": "generated",
        },
        "captures": [
            {
                "core:sample_start": start,
                "core:frequency": centre,
                "core:datetime": time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "core:geolocation": {"type": "Point", "coordinates": [-38.48, -12.97, 143.0]},
            }
            for start, centre, time in captures
        ],
        "annotations": [],
    }
    meta.write_text(json.dumps(document, indent=1))
    meta.with_suffix(".sigmf-data").write_bytes(bytes(BYTES_A_SAMPLE * total))
