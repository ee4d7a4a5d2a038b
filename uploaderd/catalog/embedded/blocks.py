"""Where a block of ClickHouse's Native format ends.

A block carries no length, so its columns have to be walked: for each type we know how many bytes
the values take. Nothing is decoded; the bytes go to and from the engine as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from uploaderd.catalog.embedded.wire import ProtocolError, Source, string, varint

WIDTHS = {
    **dict.fromkeys(("UInt8", "Int8", "Bool", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("UInt16", "Int16", "Enum16", "Date", "BFloat16"), 2),
    **dict.fromkeys(("UInt32", "Int32", "Float32", "Date32", "DateTime", "IPv4"), 4),
    **dict.fromkeys(("Decimal32", "Time"), 4),
    **dict.fromkeys(("UInt64", "Int64", "Float64", "DateTime64", "Decimal64", "Time64"), 8),
    **dict.fromkeys(("UInt128", "Int128", "Decimal128", "UUID", "IPv6"), 16),
    **dict.fromkeys(("UInt256", "Int256", "Decimal256"), 32),
}
DECIMAL_WIDTHS = ((9, 4), (18, 8), (38, 16), (76, 32))
ALIASES = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "MultiLineString": "Array(LineString)",
    "Polygon": "Array(Ring)",
    "MultiPolygon": "Array(Polygon)",
}
OPEN = "(["
CLOSE = ")]"
_NAMED = re.compile(r"^(?:`(?:[^`\\]|\\.)*`|\w+)\s+(?=[A-Z])")


@lru_cache(maxsize=4096)
def parse(type_name: str) -> tuple[str, tuple[str, ...]]:
    """A type's name and its arguments as text: `Array(String)` gives `("Array", ("String",))`."""
    type_name = type_name.strip()
    name, bracket, rest = type_name.partition("(")
    if not bracket:
        return name, ()
    return name, tuple(_split(rest.removesuffix(")")))


def _split(text: str) -> list[str]:
    """Cuts at the commas that stand in no bracket and no quotation."""
    parts = [""]
    depth = 0
    quote = ""
    characters = iter(text)
    for character in characters:
        if quote:
            if character == "\\":
                parts[-1] += character + next(characters, "")
                continue
            if character == quote:
                quote = ""
        elif character in "'`\"":
            quote = character
        elif character in OPEN or character in CLOSE:
            depth += 1 if character in OPEN else -1
        elif character == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
    return [part.strip() for part in parts]


@lru_cache(maxsize=4096)
def _children(type_name: str) -> tuple[str, ...]:
    """The types whose values a value of this composite type is stored as."""
    name, arguments = parse(type_name)
    if name in {"Array", "Nullable", "LowCardinality"}:
        return arguments
    if name == "Tuple":
        return tuple(_NAMED.sub("", argument) for argument in arguments)
    if name == "Nested":
        return (f"Tuple({', '.join(arguments)})",)
    if name == "Map":
        return (f"Tuple({', '.join(arguments)})",)
    if name == "SimpleAggregateFunction":
        return arguments[1:]
    if name in ALIASES:
        return (ALIASES[name],)
    return ()


@lru_cache(maxsize=4096)
def _width(type_name: str) -> int:
    """Bytes of one value of a type of fixed width; 0 for the others."""
    name, arguments = parse(type_name)
    if name == "FixedString":
        return int(arguments[0])
    if name == "Decimal":
        precision = int(arguments[0])
        return next(width for most, width in DECIMAL_WIDTHS if precision <= most)
    if name.startswith("Interval"):
        return 8
    return WIDTHS.get(name, 0)


def skip_block(source: Source) -> tuple[int, int]:
    """Moves `source` behind one block (without block info); gives its columns and rows.

    Raises `ProtocolError` for a type that cannot be walked (`AggregateFunction`, `Dynamic`,
    `Variant`, `JSON`).
    """
    columns = source.varint()
    rows = source.varint()
    for _ in range(columns):
        source.skip(source.varint())
        type_name = source.string()
        if rows:
            skip_column(source, type_name, rows)
    return columns, rows


def skip_column(source: Source, type_name: str, rows: int) -> None:
    """Moves `source` behind the values of one column."""
    _skip_prefix(source, type_name)
    _skip_values(source, type_name, rows)


def _skip_prefix(source: Source, type_name: str) -> None:
    """The version number that each LowCardinality inside the type puts before the column."""
    name, _ = parse(type_name)
    if name == "LowCardinality":
        source.skip(8)
        return
    for child in _children(type_name):
        _skip_prefix(source, child)


def _skip_values(source: Source, type_name: str, rows: int) -> None:
    if rows == 0:
        return
    width = _width(type_name)
    if width:
        source.skip(width * rows)
        return
    name, _ = parse(type_name)
    children = _children(type_name)
    if name == "String":
        _skip_strings(source, rows)
    elif name == "Nullable":
        source.skip(rows)
        _skip_values(source, children[0], rows)
    elif name in {"Array", "Map", "Nested"}:
        source.skip(8 * (rows - 1))
        _skip_values(source, children[0], source.uint64())
    elif name == "LowCardinality":
        _skip_dictionary(source, children[0])
    elif children:
        for child in children:
            _skip_values(source, child, rows)
    elif name == "Tuple":
        source.skip(rows)
    else:
        raise ProtocolError(f"values of type {type_name} are not understood here")


def _skip_strings(source: Source, rows: int) -> None:
    """Strings one after the other; written out, because all time goes here."""
    data = source.data
    position = source.position
    for _ in range(rows):
        if position >= len(data):
            source.position = position
            source.need(1)
        size = data[position]
        if size > 0x7F:
            source.position = position
            size = source.varint()
            position = source.position + size
        else:
            position += 1 + size
    source.position = position
    source.need(0)


def _skip_dictionary(source: Source, inner: str) -> None:
    """LowCardinality: flags, the dictionary's values, then one key a row of 1, 2, 4 or 8 bytes."""
    key_width = 1 << (source.uint64() & 0xFF)
    name, arguments = parse(inner)
    _skip_values(source, arguments[0] if name == "Nullable" else inner, source.uint64())
    source.skip(key_width * source.uint64())


def header(columns: list[tuple[str, str]]) -> bytes:
    """A block of no rows that names columns and their types."""
    names = b"".join(string(name) + string(type_name) for name, type_name in columns)
    return varint(len(columns)) + varint(0) + names


def retyped(data: bytes, kinds: Sequence[str]) -> bytes:
    """Blocks one behind the other, whose columns of type DateTime get their type from `kinds`."""
    source = Source()
    source.data += data
    parts = []
    while source.position < len(data):
        count, rows = source.varint(), source.varint()
        parts.append(varint(count) + varint(rows))
        for kind in kinds:
            name, own = source.string(), source.string()
            start = source.position
            if rows:
                skip_column(source, own, rows)
            parts.append(string(name) + string(kind if own == "DateTime" else own))
            parts.append(data[start : source.position])
    return b"".join(parts)


def columns(block: bytes) -> list[tuple[str, str]]:
    """Names and types of the columns of the block that `block` begins with."""
    source = Source()
    source.data += block
    count = source.varint()
    rows = source.varint()
    found = []
    for _ in range(count):
        found.append((source.string(), source.string()))
        if rows:
            skip_column(source, found[-1][1], rows)
    return found
