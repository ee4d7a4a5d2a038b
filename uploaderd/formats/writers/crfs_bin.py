"""Writes CRFS `.bin` files: for tests, the demo and the bench.

with path.open("wb") as file:
    file.write(file_header(23) + unit_info("rfeye009999", method="Script"))
    file.write(gps(time_ns, -12.97, -38.48, 143.0))
    file.write(trace(FlowPlan(10, "FM", 88_000_000, 108_000_000), time_ns, levels))
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uploaderd.formats.crfs_bin.layout import LAYOUTS, PROCESSING, UNITS, Coding, Layout


@dataclass(frozen=True, slots=True)
class FlowPlan:
    """What all traces of one flow share.

    Attributes:
        thread: thread id.
        description: the task's name; only in the blocks of types 67 to 69.
        start_hz: frequency of the first point; types before 63 hold whole MHz or a 32-bit number.
        stop_hz: frequency of the last point.
        block_type: 4, 7, 8, 60 to 65, or 67 to 69.
        rbw_hz: resolution bandwidth (types 67 to 69).
        unit: `dBm` or `dBuV/m`.
        processing: `single`, `average`, `peak` or `minimum`.
        antenna: 0 = automatic, 1 to 4 = port.
        threshold: of compression or occupancy, in the unit of the levels.
        duration_s: integration time of occupancy blocks.
    """

    thread: int
    description: str
    start_hz: int
    stop_hz: int
    block_type: int = 67
    rbw_hz: int = 0
    unit: str = "dBm"
    processing: str = "peak"
    antenna: int = 0
    threshold: int = -90
    duration_s: int = 10


def write(
    path: Path,
    flows: Sequence[FlowPlan],
    traces: Iterable[tuple[int, int, ArrayLike]],
    *,
    hostname: str,
    method: str = "Script",
    version: int = 23,
    position: tuple[float, float, float] | None = None,
) -> None:
    """Writes a whole file.

    Args:
        path: where to.
        flows: the flows; each gets a thread-name block.
        traces: (index of the flow, time in ns since 1970, levels in the flow's unit) in file order.
        hostname: the station, at most 16 bytes.
        method: name of the script.
        version: file version 21, 22 or 23.
        position: latitude, longitude (degrees) and altitude (m); a GPS block before every trace of
            the first flow.
    """
    with path.open("wb") as file:
        file.write(file_header(version) + unit_info(hostname, method=method))
        for flow in flows:
            file.write(thread_name(flow.thread, flow.description))
        for index, time_ns, levels in traces:
            if position and index == 0:
                file.write(gps(time_ns, *position))
            file.write(trace(flows[index], time_ns, levels))


def file_header(version: int) -> bytes:
    """The 36 bytes before the first block."""
    return struct.pack("<i32s", version, f"CRFS DATA FILE V{version:03d}".encode())


def block(thread: int, block_type: int, payload: bytes) -> bytes:
    """One block: header, payload padded to whole words, checksum, marker."""
    padded = payload + bytes(-len(payload) % 4)
    body = struct.pack("<iii", thread, len(padded), block_type) + padded
    checksum = int(np.frombuffer(body, np.uint8).sum(dtype=np.int64)) & 0xFFFFFFFF
    return body + struct.pack("<I", checksum) + b"UUUU"


def unit_info(hostname: str, *, info: str = "Stationary", method: str = "Script") -> bytes:
    """Type 21: which station and which script."""
    payload = struct.pack("16s", hostname.encode()) + _text(info) + _text(method)
    return block(0, 21, payload + struct.pack("<I", 1))


def thread_name(thread: int, name: str) -> bytes:
    """Type 24: the task's name."""
    return block(thread, 24, struct.pack("<i", 0) + _text(name))


def gps(
    time_ns: int, lat: float, lon: float, alt_m: float, *, fix: int = 1, gps_ns: int | None = None
) -> bytes:
    """Type 40: one GPS record; `gps_ns` is GPS time where the wall clock is not UTC."""
    payload = _wall(time_ns) + _wall(time_ns if gps_ns is None else gps_ns)[:8]
    payload += struct.pack("<BBH", fix, 8, 0)
    payload += struct.pack("<iiii", round(lat * 1e6), round(lon * 1e6), 0, round(alt_m * 1e3))
    return block(1, 40, payload)


def trace(flow: FlowPlan, time_ns: int, levels: ArrayLike) -> bytes:
    """One spectral block of the flow's type; levels are rounded to half a unit."""
    layout = LAYOUTS[flow.block_type]
    values = np.asarray(levels, np.float64)
    offset, stored = _stored(flow, layout, values)
    header = np.zeros(1, layout.fields)
    _fill_header(header, flow, offset, values.size)
    _set(header, nc=len(stored))
    prefix = b""
    if layout.described:
        text = _text(flow.description)
        prefix = _wall(time_ns) + struct.pack("<ii", 0, 0) + text
    elif "wall" in (layout.fields.names or ()):
        stamp = _wall(time_ns)
        header["wall"] = np.frombuffer(stamp[:8], np.uint8)
        _set(header, ns=int.from_bytes(stamp[8:], "little"))
    return block(flow.thread, flow.block_type, prefix + header.tobytes() + stored)


def _fill_header(header: NDArray[Any], flow: FlowPlan, offset: int, points: int) -> None:
    names = header.dtype.names or ()
    for edge, hz in (("start", flow.start_hz), ("stop", flow.stop_hz)):
        if "exponent" in names:
            _set(header, **{f"{edge}_mhz": hz // 1000}, exponent=3)
        else:
            whole, rest = divmod(hz, 1_000_000)
            _set(header, **{f"{edge}_mhz": whole, f"{edge}_frac": rest * 1000})
    _set(
        header,
        rbw=flow.rbw_hz,
        antenna=flow.antenna,
        proc=PROCESSING.index(flow.processing),
        unit=UNITS.index(flow.unit),
        offset=offset,
        error=-1,
        threshold=flow.threshold,
        duration=flow.duration_s,
        points=points,
    )


def _set(header: NDArray[Any], **values: int) -> None:
    """Sets those of the fields that this type of block has."""
    for name, value in values.items():
        if name in (header.dtype.names or ()):
            header[name] = value


def _stored(flow: FlowPlan, layout: Layout, values: NDArray[np.float64]) -> tuple[int, bytes]:
    """The block's level offset and its level bytes."""
    if layout.coding is Coding.OCCUPANCY:
        return 0, _as_bytes(values * 2)
    offset = int(np.ceil(values.max()))
    if layout.coding is Coding.INVERTED:
        return offset, _as_bytes((offset - values) * 2)
    coded = _as_bytes((values - offset + 127.5) * 2)
    if layout.coding is Coding.PLAIN:
        return offset, coded
    return offset, _compressed(coded, values < flow.threshold)


def _as_bytes(values: NDArray[np.float64]) -> bytes:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8).tobytes()


def _compressed(coded: bytes, below: NDArray[np.bool_]) -> bytes:
    """Runs of points below the threshold as `255, length`; 254 and 255 escaped by 254."""
    out = bytearray()
    skipped = 0
    for value, skip in zip(coded, below, strict=True):
        if skip and skipped < 255:
            skipped += 1
            continue
        if skipped:
            out += bytes((255, skipped))
            skipped = 0
        if skip:
            skipped = 1
        elif value >= 254:
            out += bytes((254, value))
        else:
            out.append(value)
    if skipped:
        out += bytes((255, skipped))
    return bytes(out)


def _wall(time_ns: int) -> bytes:
    """Date, time and nanoseconds, 12 bytes."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    at = datetime.fromtimestamp(seconds, UTC)
    date_time = (at.day, at.month, at.year - 2000, 0, at.hour, at.minute, at.second, 0)
    return bytes(date_time) + struct.pack("<I", nanoseconds)


def _text(text: str) -> bytes:
    """Length and text, padded to whole words."""
    raw = text.encode()
    raw += bytes(-len(raw) % 4)
    return struct.pack("<I", len(raw)) + raw
