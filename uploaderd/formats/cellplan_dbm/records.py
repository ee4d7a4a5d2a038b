"""The raw buffer inside a `.dBm` file: its header, and its records as one structured view."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.errors import BAD_HEADER, FormatError
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.positions import FixLog
from uploaderd.formats.spill import Bytes, forget
from uploaderd.formats.times import civil_to_ns

SIGNATURE = b"\x18[CellSpec RawBuffer 009]"
FIXED_HEADER = 208
"""Bytes of the header before the table of centre frequencies."""
LEVELS_AT = 156
"""Offset of the levels in a record."""
MAX_CENTRES = 8192
WINDOW = 4 << 20
"""Bytes of records that are looked at at once."""

_FIELDS = {
    "lat": ("<f8", 0),
    "lon": ("<f8", 8),
    "alt": ("<f8", 16),
    "time": (("<u2", (8,)), 24),
    "centre_hz": ("<f8", 80),
    "step_span_mhz": ("<f8", 88),
    "rbw_khz": ("<f8", 104),
    "elements": ("<i4", 144),
}


@dataclass(frozen=True)
class Records:
    """Whole records of one file, and what was derived from each of them.

    Attributes:
        signature: format version as it is spelled in the file.
        firmware: version and date of the station's firmware.
        times: int64 [records], ns since 1970 on the station's clock.
        flow: int32 [records], index into `keys`; -1 where the record contradicts itself.
        keys: float64 [flows, 3]: centre in Hz, RBW in Hz, usable points; in order of appearance.
        first: int32 [records], index of the first usable level.
    """

    signature: str
    firmware: str
    firmware_date: str
    times: NDArray[np.int64]
    flow: NDArray[np.int32]
    keys: NDArray[np.float64]
    first: NDArray[np.int32]
    _data: Bytes
    _header_size: int
    _record_size: int
    _bytes_a_level: int

    def levels(self, rows: NDArray[np.intp], points: int) -> NDArray[np.float32]:
        """Levels in dBm, float32 [rows, points], of sound records of one flow."""
        out = np.empty((rows.size, points), np.float32)
        width = self._bytes_a_level
        for first in np.unique(self.first[rows]):
            mine = self.first[rows] == first
            view = np.ndarray(
                (self.times.size, points),
                "<i2" if width == 2 else "i1",
                self._data,
                self._header_size + LEVELS_AT + width * int(first),
                (self._record_size, width),
            )
            raw = view[rows[mine]].astype(np.float32)
            out[mine] = raw / np.float32(100) if width == 2 else raw - np.float32(220)
        return out

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Gives the memory of rising rows, and of what lies between them, back to the kernel."""
        first, last = int(rows[0]), int(rows[-1])
        begin = self._header_size + first * self._record_size
        forget(self._data, begin, begin + (last - first + 1) * self._record_size)


def parse(data: Bytes, log: IssueLog, fixes: FixLog, **where: str) -> Records | None:
    """The records; None, with an issue in the log, if there is not one whole record.

    Their positions go to `fixes`. Raises FormatError `bad_header` if the sizes in the header, or in
    every record, cannot be.
    """
    if data.size < FIXED_HEADER:
        log.add("truncated_header", **where)
        return None
    head = data[:FIXED_HEADER].tobytes()
    header_size, declared, size = struct.unpack_from("<iii", head, 36)
    (centres,) = struct.unpack_from("<i", head, 200)
    width = 1 if head[193] == 1 else 2
    if header_size < FIXED_HEADER or declared < 0 or size < LEVELS_AT + width:
        raise FormatError(BAD_HEADER, "The header's sizes cannot be right.")
    if not 0 <= centres <= MAX_CENTRES:
        raise FormatError(BAD_HEADER, "The header's number of centre frequencies cannot be right.")
    count = min(declared, max(0, data.size - header_size) // size)
    if count < declared:
        log.add("truncated", **where, declared=declared, available=count)
    elif data.size > header_size + declared * size:
        log.add("trailing_bytes", **where, bytes=data.size - header_size - declared * size)
    if not count:
        log.add("no_spectrum", **where)
        return None
    records = _derived(data, (header_size, count, size), width, fixes)
    for index in np.flatnonzero(records["flow"] < 0):
        log.add("bad_record", **where, record=int(index))
    if not records["keys"].size:
        raise FormatError(BAD_HEADER, "No record's sizes and times can be right.")
    return Records(
        signature=_pascal(head, 0, 36),
        firmware=_pascal(head, 81, 11),
        firmware_date=_pascal(head, 103, 33),
        **records,
        _data=data,
        _header_size=header_size,
        _record_size=size,
        _bytes_a_level=width,
    )


def _derived(
    data: Bytes, where: tuple[int, int, int], width: int, fixes: FixLog
) -> dict[str, NDArray[Any]]:
    """What is derived from all records (first byte, number, size); few are looked at at once."""
    begin, count, size = where
    dtype = np.dtype(
        {
            "names": list(_FIELDS),
            "formats": [kind for kind, _ in _FIELDS.values()],
            "offsets": [offset for _, offset in _FIELDS.values()],
            "itemsize": size,
        }
    )
    table: NDArray[Any] = np.ndarray((count,), dtype, data, begin)
    times, flow, first = np.empty(count, "i8"), np.empty(count, "i4"), np.empty(count, "i4")
    keys: dict[bytes, int] = {}
    at_once = max(1, WINDOW // size)
    for row in range(0, count, at_once):
        part = table[row : row + at_once]
        mine = slice(row, row + len(part))
        found = _derive(part, size, width)
        times[mine], first[mine] = found["times"], found["first"]
        flow[mine] = _numbered(found["keys"], found["sound"], keys)
        fixes.add(*(part[name][found["sound"]] for name in ("lat", "lon", "alt")))
        forget(data, begin + row * size, begin + (row + len(part)) * size)
    table_of_keys = np.frombuffer(b"".join(keys), np.float64).reshape(-1, 3)
    return {"times": times, "flow": flow, "keys": table_of_keys, "first": first}


def _numbered(
    wanted: NDArray[np.float64], sound: NDArray[np.bool_], keys: dict[bytes, int]
) -> NDArray[np.int32]:
    """The number of each row's key among `keys`, to which new ones are added; -1: not sound."""
    numbers = np.full(sound.size, -1, np.int32)
    if sound.any():
        different, firsts, which = np.unique(
            wanted[sound], axis=0, return_index=True, return_inverse=True
        )
        number = np.empty(len(different), np.int32)
        for at in np.argsort(firsts):
            number[at] = keys.setdefault(different[at].tobytes(), len(keys))
        numbers[sound] = number[which.ravel()]
    return numbers


@np.errstate(over="ignore", invalid="ignore")
def _derive(table: NDArray[Any], size: int, width: int) -> dict[str, Any]:
    """Times, keys and soundness of records; the band's rule is in docs/formats/cellplan_dbm.md."""
    elements = table["elements"].astype(np.int64)
    rbw = table["rbw_khz"] * 1e3
    span = table["step_span_mhz"] * 1e6
    centre = np.array(table["centre_hz"])
    sound = (elements > 0) & (LEVELS_AT + width * elements <= size)
    sound &= np.isfinite(rbw) & (rbw > 0) & (rbw < 1e12)
    sound &= np.isfinite(span) & (span >= 0) & (span < 1e12)
    sound &= np.isfinite(centre) & (np.abs(centre) < 1e12)
    bins = np.where(sound, span, 0) / np.where(sound, rbw, 1)
    wanted = np.where(span > 0, np.minimum(np.rint(bins) + 2, elements), elements)
    points = np.where(sound, wanted, 0).astype(np.int64)
    year, month, _, day, hour, minute, second, milli = table["time"].astype(np.int64).T
    times, valid = civil_to_ns((year, month, day), (hour, minute, second), milli * 1_000_000)
    return {
        "times": times,
        "keys": np.stack([centre, rbw, points], axis=1),
        "first": np.where(sound, (elements - points) // 2, 0),
        "sound": sound & valid & (points > 0),
    }


def _pascal(head: bytes, at: int, room: int) -> str:
    length = min(head[at], room - 1)
    return head[at + 1 : at + 1 + length].split(b"\0")[0].decode("latin-1").strip()
