"""A published column: how the database sends it, and what it becomes in Arrow.

Every value crosses the wire in a form that Arrow takes over without a Python object for each: times
as whole numbers, fixed strings as strings, arrays of integers as the bytes of their values.

What the catalog marks as unknown (NaN for a measure, 1970-01-01 00:00:00 for a time) is null.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

SIMPLE = {
    "Bool": pa.bool_(),
    "Float32": pa.float32(),
    "Float64": pa.float64(),
    "String": pa.string(),
    **{f"Int{bits}": getattr(pa, f"int{bits}")() for bits in (8, 16, 32, 64)},
    **{f"UInt{bits}": getattr(pa, f"uint{bits}")() for bits in (8, 16, 32, 64)},
}
TEXTS = pa.dictionary(pa.int32(), pa.string())
ARRAYS_AS_BYTES_SINCE = (26, 8)
"""The first version of ClickHouse whose `reinterpret` gives an array's bytes as they lie there."""
MOMENTS = {"3": ("Milli", "ms"), "6": ("Micro", "us"), "9": ("Nano", "ns")}
"""Decimals of a DateTime64: ClickHouse's name for its unit, and Arrow's."""
UNITS: Mapping[str, str] = {
    **dict.fromkeys(("freq_start", "freq_stop", "rbw"), "Hz"),
    **dict.fromkeys(("latitude", "longitude"), "degree"),
    **dict.fromkeys(("fetch_s", "process_s", "duration_s", "revisit_s"), "s"),
    **dict.fromkeys(
        (f"profile_{kind}" for kind in ("mean", "max", "min", "p10", "p50", "p90")), "0.1 dB"
    ),
    **dict.fromkeys(
        (f"level_{kind}" for kind in ("min", "mean", "max", "p10", "p50", "p90")), "column unit"
    ),
    "altitude": "m",
    "size": "byte",
    "bytes": "byte",
    "mtime_ns": "ns",
}


@dataclass(frozen=True)
class Column:
    """One column of a published set."""

    name: str
    kind: str
    """ClickHouse's type."""
    comment: str
    server: tuple[int, ...] = (0,)
    """The database's version."""

    @cached_property
    def type(self) -> pa.DataType:
        """The column's type in the files. Raises KeyError for one that no table has."""
        if self.kind.startswith("LowCardinality(String"):
            return TEXTS
        if self.kind.startswith("FixedString("):
            return pa.string()
        if moment := re.fullmatch(r"DateTime64\((\d), *'UTC'\)", self.kind):
            return pa.timestamp(MOMENTS[moment[1]][1], tz="UTC")
        if array := re.fullmatch(r"Array\((U?Int\d+)\)", self.kind):
            return pa.list_(pa.field("element", SIMPLE[array[1]], nullable=False))
        return SIMPLE[self.kind]

    @property
    def wire(self) -> str:
        """The SQL expression that is sent for the column."""
        if pa.types.is_timestamp(self.type):
            unit = next(name for name, short in MOMENTS.values() if short == self.type.unit)
            return f"toUnixTimestamp64{unit}({self.name})"
        if pa.types.is_list(self.type):
            if self.server >= ARRAYS_AS_BYTES_SINCE:
                return f"reinterpret({self.name}, 'String')"
            width = self.type.value_type.bit_width
            taken = ", ".join(f"bitShiftRight(x, {shift})" for shift in range(0, width, 8))
            return f"arrayStringConcat(arrayMap(x -> char({taken}), {self.name}))"
        if self.kind.startswith("FixedString("):
            return f"toStringCutToZero({self.name})"
        if self.kind == "String" or self.type == TEXTS:
            # A path of a station may be any bytes; Parquet's strings are UTF-8.
            return f"toValidUTF8({self.name})"
        return self.name

    @property
    def wire_type(self) -> pa.DataType:
        """The type of what the driver gives for `wire`."""
        if self.type == TEXTS:
            return pa.dictionary(pa.int32(), pa.binary())
        if pa.types.is_string(self.type) or pa.types.is_list(self.type):
            return pa.binary()
        return pa.int64() if pa.types.is_timestamp(self.type) else self.type

    @property
    def field(self) -> pa.Field:
        """The column in the files' schema, with its comment and unit."""
        comment = self.comment
        if pa.types.is_timestamp(self.type):
            comment = comment.replace("1970", "null")
        elif pa.types.is_floating(self.type):
            comment = comment.replace("NaN", "null")
        metadata = {"comment": comment, "clickhouse_type": self.kind}
        if self.name in UNITS:
            metadata["unit"] = UNITS[self.name]
        return pa.field(self.name, self.type, metadata=metadata)

    def decode(self, sent: pa.Array) -> pa.Array:
        """What was sent for `wire`, as values of `type`."""
        if pa.types.is_list(self.type):
            return _numbers(sent, self.type)
        if pa.types.is_timestamp(self.type):
            return pc.if_else(pc.equal(sent, 0), None, sent).cast(self.type)
        if pa.types.is_floating(self.type):
            return pc.if_else(pc.is_nan(sent), None, sent)
        if self.type == TEXTS:
            return pa.DictionaryArray.from_arrays(sent.indices, sent.dictionary.cast(pa.string()))
        return sent.cast(self.type)


def _numbers(sent: pa.Array, wanted: pa.ListType) -> pa.Array:
    """Bytes of little-endian integers as lists of them, without a copy of the values."""
    _, offsets, values = sent.buffers()
    starts = pa.Array.from_buffers(pa.int32(), len(sent) + 1, [None, offsets])
    width = wanted.value_type.bit_width // 8
    total = starts[-1].as_py() // width
    numbers = pa.Array.from_buffers(wanted.value_type, total, [None, values])
    return pa.ListArray.from_arrays(pc.divide(starts, width), numbers, type=wanted)
