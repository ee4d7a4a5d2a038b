"""Writes RFlook files of both versions: for tests, the demo and the bench."""

from __future__ import annotations

import gzip
import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uploaderd.formats.rflook_bin.common import DETECTORS, TRACE_MODES, UNITS
from uploaderd.formats.rflook_bin.v1 import HEADER, RECORD


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file says beside its traces; frequencies in Hz, `unit` in ASCII."""

    start_hz: int = 76_000_000
    stop_hz: int = 108_000_000
    rbw_hz: int = 30_000
    description: str = "Faixa 1 de 1"
    task: str = "Synthetic"
    receiver: str = "MAKER,MODEL,0001,1.0"
    unit: str = "dBm"
    processing: str = "ClearWrite"
    detector: str = "Sample"
    antenna: str = "Telescopic"
    id: int = 1
    bits: int = 8
    position: tuple[float, float] | None = None


def write_v1(path: Path, plan: Plan, times: list[int], levels: ArrayLike) -> None:
    """Writes v.1/1: times in ns since 1970, levels [n, points]; the position in every record."""
    values = np.asarray(levels, np.float64)
    stored, offsets = _coded(values, plan.bits)
    header = np.zeros(1, HEADER)
    records = np.zeros(len(times), RECORD)
    records["offset"] = offsets
    for record, time in zip(records, times, strict=True):
        record["date"], record["ms"] = _stamp(time)
    lat, lon = plan.position or (-1.0, -1.0)
    records["status"], records["lat"], records["lon"] = plan.position is not None, lat, lon
    text = {
        "TaskName": plan.task, "ThreadID": plan.id, "Description": plan.description,
        "Node": plan.receiver, "Antenna": plan.antenna, "AntennaHeight": 2, "RevisitTime": 1,
    }  # fmt: skip
    fields: dict[str, Any] = {
        "bits": plan.bits, "sized": len(times), "written": len(times), "start": plan.start_hz,
        "stop": plan.stop_hz, "rbw": plan.rbw_hz, "points": values.shape[1],
        "mode": _key(TRACE_MODES, plan.processing), "detector": _key(DETECTORS, plan.detector),
        "unit": _key(UNITS, plan.unit), "att_mode": 1, "att": -1, "gps_kind": 1,
        "gps_status": plan.position is not None, "lat": lat, "lon": lon,
        "records": HEADER.itemsize, "levels": HEADER.itemsize + records.nbytes,
        "text": HEADER.itemsize + records.nbytes + len(stored),
    }  # fmt: skip
    for name, value in fields.items():
        header[name] = value
    head = b"RFlookBin v.1/1" + header.tobytes()[15:]
    path.write_bytes(head + records.tobytes() + stored + json.dumps(text).encode())


def write_v2(
    path: Path, plan: Plan, times: list[int], levels: ArrayLike, *, version: str = "v.2/1"
) -> None:
    """Writes v.2/1 (serialised payload) or v.2/3 (bare payload); arguments as `write_v1`."""
    values = np.asarray(levels, np.float64)
    about: dict[str, Any] = {
        "Receiver": plan.receiver, "AntennaInfo": {"Name": plan.antenna}, "Task": plan.task,
        "gpsType": "Built-in" if plan.position else "Manual", "ID": plan.id,
        "Description": plan.description, "FreqStart": plan.start_hz, "FreqStop": plan.stop_hz,
        "DataPoints": values.shape[1], "Resolution": f"{plan.rbw_hz / 1000:.3f} kHz",
        "Unit": plan.unit.replace("u", "\u00b5"), "TraceMode": plan.processing,
        "TraceIntegration": 1, "Detector": plan.detector,
    }  # fmt: skip
    text = json.dumps(about).encode()
    kind = 1 if plan.position else 0
    with path.open("wb") as file:
        file.write(b"RFlookBin " + version.encode() + bytes((plan.bits, 0, kind)))
        file.write(struct.pack("<I", len(text)) + text)
        for time, row in zip(times, values, strict=True):
            file.write(_block(plan, time, row, serialised=version == "v.2/1"))


def _block(plan: Plan, time: int, row: NDArray[np.float64], *, serialised: bool) -> bytes:
    stored, offsets = _coded(row[None], plan.bits)
    date, milliseconds = _stamp(time)
    head = b"StArT" + bytes(date) + struct.pack("<H", milliseconds)
    if plan.position:
        head += struct.pack("<Bff", 1, *plan.position)
    if plan.bits == 8:
        head += struct.pack("<h", int(offsets[0]))
    if serialised:
        size = struct.pack("<I", len(stored))
        array = bytes.fromhex("0001494d000000000e000000") + bytes(28) + size + bytes(16) + size
        stored = array + stored + bytes(-len(stored) % 8)
    return head + gzip.compress(stored, 6, mtime=0) + b"StOp"


def _coded(values: NDArray[np.float64], bits: int) -> tuple[bytes, NDArray[np.int64]]:
    """Levels [n, points] as stored, and each trace's offset."""
    offsets = np.ceil(values.max(axis=1)).astype(np.int64)
    if bits == 8:
        codes = np.rint((values - offsets[:, None] + 127.5) * 2)
        return np.clip(codes, 0, 255).astype(np.uint8).tobytes(), offsets
    if bits == 16:
        return np.rint(values * 100).astype("<i2").tobytes(), offsets
    return values.astype("<f4").tobytes(), offsets


def _stamp(time: int) -> tuple[tuple[int, ...], int]:
    """Date and time in six numbers, and milliseconds."""
    seconds, rest = divmod(time, 1_000_000_000)
    at = datetime.fromtimestamp(seconds, UTC)
    date = (at.year - 2000, at.month, at.day, at.hour, at.minute, at.second)
    return date, rest // 1_000_000


def _key(names: dict[int, str], name: str) -> int:
    return next(number for number, known in names.items() if known == name)
