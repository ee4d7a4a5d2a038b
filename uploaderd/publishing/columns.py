"""ClickHouse column types as Arrow types."""

from __future__ import annotations

import re

import pyarrow as pa

SIMPLE = {
    "Bool": pa.bool_(),
    "Date": pa.date32(),
    "Float32": pa.float32(),
    "Float64": pa.float64(),
    "String": pa.string(),
    "UUID": pa.string(),
    **{f"Int{bits}": getattr(pa, f"int{bits}")() for bits in (8, 16, 32, 64)},
    **{f"UInt{bits}": getattr(pa, f"uint{bits}")() for bits in (8, 16, 32, 64)},
}
UNITS = ("s", "ms", "ms", "ms", "us", "us", "us", "ns", "ns", "ns")
"""Arrow's unit that holds a DateTime64 of so many decimals."""


def arrow_type(clickhouse: str) -> pa.DataType:
    """The Arrow type of a ClickHouse type, such as `Array(LowCardinality(String))`.

    Raises:
        KeyError: the catalog has no column of such a type.
    """
    if wrapped := re.fullmatch(r"(?:Nullable|LowCardinality)\((.*)\)", clickhouse):
        return arrow_type(wrapped[1])
    if array := re.fullmatch(r"Array\((.*)\)", clickhouse):
        return pa.list_(arrow_type(array[1]))
    if clickhouse.startswith(("FixedString(", "Enum8(", "Enum16(")):
        return pa.string()
    if moment := re.fullmatch(r"DateTime64\((\d)(?:, *'[^']*')?\)", clickhouse):
        return pa.timestamp(UNITS[int(moment[1])], tz="UTC")
    if re.fullmatch(r"DateTime(?:\('[^']*'\))?", clickhouse):
        return pa.timestamp("s", tz="UTC")
    return SIMPLE[clickhouse]
