from __future__ import annotations

import io
import math
import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from clickhouse_driver.bufferedwriter import CompressedBufferedWriter
from clickhouse_driver.columns.service import write_column
from clickhouse_driver.context import Context
from hypothesis import given, settings
from hypothesis import strategies as st

from uploaderd.catalog.native import encoded

texts = st.text(st.characters(codec="utf-8"), max_size=200)
times = st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "UInt8": st.integers(0, 2**8 - 1),
    "Int16": st.integers(-(2**15), 2**15 - 1),
    "UInt32": st.integers(0, 2**32 - 1),
    "Int64": st.integers(-(2**63), 2**63 - 1),
    "Float32": st.floats(width=32, allow_nan=False),
    "Float64": st.floats(allow_nan=False),
    "String": texts,
    "FixedString(8)": st.text(st.sampled_from("aé"), max_size=4),
    "LowCardinality(String)": texts,
    "Array(Int16)": st.lists(st.integers(-(2**15), 2**15 - 1), max_size=5),
    "DateTime64(3, 'UTC')": times,
    "DateTime64(6, 'UTC')": times,
}


def by_the_driver(kind: str, values: list[Any]) -> bytes:
    context = Context()
    context.client_settings = {"strings_as_bytes": False, "use_numpy": False}
    context.settings = {}
    written = io.BytesIO()
    out = CompressedBufferedWriter(written, 1 << 20)
    write_column(context, "c", kind, values, out)
    out.flush()
    return written.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_has_the_drivers_bytes(kind: str) -> None:
    @settings(max_examples=40)
    @given(st.lists(KINDS[kind], min_size=1, max_size=300))
    def check(values: list[Any]) -> None:
        assert encoded(kind, values) == by_the_driver(kind, values)

    check()


def test_a_dictionary_of_more_than_256_texts_has_wider_keys() -> None:
    values = [str(number) for number in range(70_000)]
    for count in (256, 257, 65_536, 65_537):
        head = struct.unpack_from("<QQQ", encoded("LowCardinality(String)", values[:count]))
        assert head == (1, 0x600 | (count > 256) + (count > 65_536), count)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("UInt8", 256), ("UInt64", -1), ("Int32", 1.5), ("Float64", "1"), ("Array(Int16)", [40000]),
        ("FixedString(2)", "abc"), ("String", "\udc80"), ("String", 1), ("DateTime64(9)", 1),
        ("Decimal(9, 2)", 1), ("UUID", "x"),
    ],
)  # fmt: skip
def test_what_a_column_does_not_hold_is_refused(kind: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError, LookupError)):
        encoded(kind, [value])


def test_unknown_levels_stay_unknown() -> None:
    assert math.isnan(struct.unpack("<f", encoded("Float32", [math.nan]))[0])
