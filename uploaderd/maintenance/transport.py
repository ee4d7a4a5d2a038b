"""How a column's values travel into a backup and back, exactly as the database has them.

Texts travel as bytes, for a station's path need not be UTF-8; times as whole numbers; arrays of
integers as the bytes of their values. Nothing becomes null, and NaN stays NaN.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from uploaderd.errors import CatalogError

_NUMBERS = {
    "Bool": pa.uint8(),
    "Float32": pa.float32(),
    "Float64": pa.float64(),
    **{f"Int{bits}": getattr(pa, f"int{bits}")() for bits in (8, 16, 32, 64)},
    **{f"UInt{bits}": getattr(pa, f"uint{bits}")() for bits in (8, 16, 32, 64)},
}
_TEXT = re.compile(r"LowCardinality\((?:String|FixedString\(\d+\))\)|String|FixedString\(\d+\)")
_TIME = re.compile(r"DateTime64\((\d)(?:, *'[^']*')?\)")
_ARRAY = re.compile(r"Array\(U?Int(8|16|32|64)\)")


@dataclass(frozen=True)
class Wire:
    """A column: how it is asked for, what is kept, and how it is put back."""

    name: str
    kind: str
    """ClickHouse's type."""
    sql: str
    """Gives what is kept."""
    type: pa.DataType
    """Of what is kept."""
    stored: str
    """ClickHouse's type of what is kept."""
    back: str
    """Expression that makes the column of what is kept, under the column's name."""


def wires(columns: Sequence[tuple[str, str]]) -> list[Wire]:
    """Columns by name and type. Raises CatalogError for a type that has no way."""
    return [_wire(name, kind) for name, kind in columns]


def _wire(name: str, kind: str) -> Wire:
    quoted = f"`{name}`"
    if kind in _NUMBERS:
        return Wire(name, kind, quoted, _NUMBERS[kind], kind.replace("Bool", "UInt8"), quoted)
    if _TEXT.fullmatch(kind):
        return Wire(name, kind, f"toString({quoted}) AS text_{name}", pa.binary(), "String", quoted)
    if time := _TIME.fullmatch(kind):
        whole = f"toInt64(reinterpret({quoted}, 'Int64')) AS whole_{name}"
        back = f"reinterpret({quoted}, 'DateTime64({time[1]}, ''UTC'')')"
        return Wire(name, kind, whole, pa.int64(), "Int64", back)
    if array := _ARRAY.fullmatch(kind):
        shifts = ", ".join(f"bitShiftRight(x, {shift})" for shift in range(0, int(array[1]), 8))
        sql = f"arrayStringConcat(arrayMap(x -> char({shifts}), {quoted})) AS bytes_{name}"
        width = int(array[1]) // 8
        inner = kind.removeprefix("Array(").removesuffix(")")
        back = (
            f"arrayMap(n -> reinterpret(substring({quoted}, n * {width} + 1, {width}), '{inner}'),"
            f" range(intDiv(length({quoted}), {width})))"
        )
        return Wire(name, kind, sql, pa.binary(), "String", back)
    raise CatalogError(f"The column {name} has the type {kind}, which backups do not know.")
