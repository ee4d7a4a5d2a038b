"""Numbers out of bytes: what Python takes for a decimal number, and nothing else."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from uploaderd.formats import decimals

NUMBER = re.compile(rb" *[+-]?\d+([.,]\d*)? *")


def parse(fields: list[bytes]) -> list[float | None]:
    data = np.frombuffer(b"\n".join(fields) + b"\n", np.uint8)
    sizes = np.array([len(field) for field in fields], np.int64)
    starts = np.cumsum(sizes + 1) - sizes - 1
    values, good = decimals.parse(data, starts, starts + sizes)
    return [float(v) if g else None for v, g in zip(values, good, strict=True)]


def expected(field: bytes) -> float | None:
    if len(field) > decimals.MAX_DIGITS or not NUMBER.fullmatch(field):
        return None
    return float(field.replace(b",", b"."))


def same(found: list[float | None], wanted: list[float | None]) -> bool:
    pairs = zip(found, wanted, strict=True)
    return all(f == w or (f and w and abs(f - w) <= 1e-15 * abs(w)) for f, w in pairs)


@given(st.lists(st.text("0123456789 +-.,x\n", max_size=20).map(str.encode), min_size=1))
def test_any_fields(fields: list[bytes]) -> None:
    fields = [field.replace(b"\n", b"") for field in fields]
    assert same(parse(fields), [expected(field) for field in fields])


@given(st.lists(st.integers(-99_999, 99_999), min_size=1), st.integers(0, 3))
def test_columns_of_equal_decimals(numbers: list[int], places: int) -> None:
    fields = [f"{number / 10:9.{places}f}".replace(".", ",").encode() for number in numbers]
    assert same(parse(fields), [expected(field) for field in fields])


def test_floats_takes_what_is_no_number_for_missing() -> None:
    found = decimals.floats([b"1.5", b" -2", b"nan", b"-inf", b"", b"x", b"1e3"])
    np.testing.assert_array_equal(found, [1.5, -2, np.nan, np.nan, np.nan, np.nan, 1000])


@given(st.lists(st.text("0123456789 +-.exnaif", max_size=20).map(str.encode), min_size=1))
def test_a_row_is_what_its_fields_are(fields: list[bytes]) -> None:
    np.testing.assert_allclose(
        decimals.row(b",".join(fields)), decimals.floats(fields), rtol=1e-15, atol=0
    )
