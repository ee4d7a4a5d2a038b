"""Writes CellPlan `.dBm` raw buffers; pack them with `writers.celzip` or in a zip."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike

HEADER_SIZE = 66_256
NAME = "CWSM22010038_E11_A1_Spec Frq=71.000 Span=34.000 RBW=100.000 [2023-03-02,15-47-11-758].dBm"
"""A name as stations give it: station, scan, operation and trace kind are only there."""


@dataclass(frozen=True)
class Record:
    """One trace: times on the station's clock, levels in dBm (0.01 dB), span of one step."""

    time: datetime
    centre_hz: float
    levels: ArrayLike
    span_mhz: float = 0.0
    rbw_khz: float = 97.65625
    position: tuple[float, float, float] = (-200.0, -200.0, 0.0)


def write(records: Sequence[Record], *, room: int = 0) -> bytes:
    """The raw buffer; every record has `room` for unused levels beyond its own."""
    sizes = [156 + 2 * (np.size(record.levels) + room) for record in records]
    size = max(sizes, default=400)
    centres = sorted({record.centre_hz / 1e6 for record in records})
    head = bytearray(HEADER_SIZE)
    _pascal(head, 0, b"[CellSpec RawBuffer 009]")
    struct.pack_into("<iii", head, 36, HEADER_SIZE, len(records), size)
    _pascal(head, 48, b"CellWireless SM RMU")
    _pascal(head, 81, b"1.3-38")
    _pascal(head, 103, b"Feb 13, 2022")
    _pascal(head, 160, b"SpectrumDataV005")
    struct.pack_into("<i", head, 200, len(centres))
    struct.pack_into(f"<{len(centres)}d", head, 208, *centres)
    return bytes(head) + b"".join(_record(record, size) for record in records)


def _record(record: Record, size: int) -> bytes:
    t = record.time
    codes = np.rint(np.asarray(record.levels, np.float64) * 100).astype("<i2")
    data = bytearray(size)
    struct.pack_into("<3d", data, 0, *record.position)
    clock = (t.year, t.month, t.isoweekday() % 7, t.day, t.hour, t.minute, t.second)
    struct.pack_into("<8H", data, 24, *clock, t.microsecond // 1000)
    struct.pack_into("<d", data, 80, record.centre_hz)
    struct.pack_into("<3d", data, 88, record.span_mhz, record.span_mhz, record.rbw_khz)
    struct.pack_into("<2i", data, 140, size, codes.size)
    data[156 : 156 + codes.nbytes] = codes.tobytes()
    return bytes(data)


def _pascal(head: bytearray, at: int, text: bytes) -> None:
    head[at : at + 1 + len(text)] = bytes([len(text)]) + text
