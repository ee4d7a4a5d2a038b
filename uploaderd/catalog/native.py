"""Columns of Python values as bytes of ClickHouse's Native format, and a client that sends them.

The driver walks through each column value by value; here each kind of column is made by a few
calls that are loops in C, which takes a third of the time. NumPy and pandas are not needed.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import accumulate, chain
from typing import Any, NamedTuple

from clickhouse_driver import Client, defines
from clickhouse_driver.block import BlockInfo, ColumnOrientedBlock
from clickhouse_driver.protocol import ClientPacketTypes
from clickhouse_driver.varint import write_varint
from clickhouse_driver.writer import write_binary_str

from uploaderd.catalog.rows import EPOCH

Column = tuple[str, str, bytes]
"""Name, type, and the values as the wire has them."""

_NUMBERS = {
    **{"UInt8": "B", "UInt16": "H", "UInt32": "I", "UInt64": "Q"},
    **{"Int8": "b", "Int16": "h", "Int32": "i", "Int64": "q"},
    **{"Float32": "f", "Float64": "d"},
}
_PARAMETRIC = re.compile(r"(\w+)\((.*)\)")
_DICTIONARY = 1 << 9 | 1 << 10
"""Flags of a LowCardinality column: its dictionary comes with it, and is a new one."""


class Block(NamedTuple):
    """Rows as they go over the wire."""

    rows: int
    columns: tuple[Column, ...]


class Blocks(tuple[Block, ...]):
    """What one INSERT takes: a tuple, for such are taken as data by the driver."""


class BlockClient(Client):  # type: ignore[misc]  # the driver has no types
    """The driver's client, which also takes `Blocks` as the data of an INSERT."""

    def send_data(
        self, sample_block: Any, data: Any, types_check: bool = False, columnar: bool = False
    ) -> Any:
        """Sends `Blocks` as they are, and anything else as the driver does."""
        if not isinstance(data, Blocks):
            return super().send_data(sample_block, data, types_check, columnar)
        for block in data:
            self._send_block(block)
            self.receive_profile_events()
        self.connection.send_data(ColumnOrientedBlock())
        self.receive_profile_events()
        return sum(block.rows for block in data)

    def _send_block(self, block: Block) -> None:
        connection = self.connection
        write_varint(ClientPacketTypes.DATA, connection.fout)
        write_binary_str("", connection.fout)
        revision = connection.server_info.used_revision
        plain = b"\0" if revision >= defines.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION else b""
        out = connection.block_out
        BlockInfo().write(out.fout)
        write_varint(len(block.columns), out.fout)
        write_varint(block.rows, out.fout)
        for name, kind, values in block.columns:
            write_binary_str(name, out.fout)
            write_binary_str(kind, out.fout)
            out.fout.write(plain + values)
        out.finalize()


def encoded(kind: str, values: Sequence[Any]) -> bytes:
    """The values of a column of type `kind`, one or more.

    Raises `TypeError`, `ValueError` or `OverflowError` for a value that the type does not hold, and
    `LookupError` for a type that no table of rows has.
    """
    if kind in _NUMBERS:
        return _bytes(array(_NUMBERS[kind], values))
    if kind == "String":
        return _strings(values)
    if match := _PARAMETRIC.fullmatch(kind):
        return _PARAMETRICS[match[1]](match[2], values)
    raise LookupError(f"there is no way to write {kind}")


def _bytes(numbers: array[Any]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _strings(values: Sequence[str]) -> bytes:
    if "".join(values).isascii() and max(map(len, values)) < 0x80:
        # A length below 128 is a byte of its own, and so is every letter.
        return "".join([chr(len(value)) + value for value in values]).encode()
    return b"".join(map(_string, values))


def _string(value: str) -> bytes:
    data = value.encode()
    size = len(data)
    length = bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(length) + bytes((size,)) + data


def _fixed(argument: str, values: Sequence[str]) -> bytes:
    width = int(argument)
    data = "".join(values).encode()
    if len(data) == width * len(values) and set(map(len, values)) == {width}:
        return data
    padded = [value.encode().ljust(width, b"\0") for value in values]
    if any(len(one) > width for one in padded):
        raise ValueError(f"a text has more than {width} bytes")
    return b"".join(padded)


def _times(argument: str, values: Sequence[datetime]) -> bytes:
    digits = int(argument.partition(",")[0])
    if digits > 6:
        raise LookupError("a datetime has microseconds")
    unit = timedelta(microseconds=10 ** (6 - digits))
    return _bytes(array("q", [(one - EPOCH) // unit for one in values]))


def _low_cardinality(argument: str, values: Sequence[str]) -> bytes:
    keys = {value: number for number, value in enumerate(dict.fromkeys(values))}
    width = next(n for n in range(4) if len(keys) <= 1 << (8 << n))
    head = array("Q", (1, _DICTIONARY | width, len(keys)))
    rows = array("Q", (len(values),))
    # Mostly all rows have the same text.
    numbers = map(keys.__getitem__, values) if len(keys) > 1 else bytes(len(values))
    indexes = _bytes(array("BHIQ"[width], numbers))
    return _bytes(head) + encoded(argument, list(keys)) + _bytes(rows) + indexes


def _arrays(argument: str, values: Sequence[Sequence[Any]]) -> bytes:
    if not any(values):
        return bytes(8 * len(values))
    ends = array("Q", accumulate(map(len, values)))
    return _bytes(ends) + encoded(argument, list(chain.from_iterable(values)))


_PARAMETRICS: dict[str, Callable[[str, Sequence[Any]], bytes]] = {
    "FixedString": _fixed,
    "DateTime64": _times,
    "LowCardinality": _low_cardinality,
    "Array": _arrays,
}
