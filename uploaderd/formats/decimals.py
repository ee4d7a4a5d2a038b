"""Decimal numbers out of bytes, a whole column at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DIGITS = 18
"""More characters than this are not taken for a number; 18 digits fit into 64 bits."""

_LEAD, _SIGN, _WHOLE, _FRACTION, _TRAIL, _BAD = range(6)


def _transitions() -> NDArray[np.uint8]:
    table = np.full((6, 256), _BAD, np.uint8)
    digits = slice(ord("0"), ord("9") + 1)
    for state in (_LEAD, _SIGN, _WHOLE):
        table[state, digits] = _WHOLE
    table[_FRACTION, digits] = _FRACTION
    for point in b".,":
        table[_WHOLE, point] = _FRACTION
    for sign in b"+-":
        table[_LEAD, sign] = _SIGN
    table[_LEAD, ord(" ")] = _LEAD
    for state in (_WHOLE, _FRACTION, _TRAIL):
        table[state, ord(" ")] = _TRAIL
    return table.ravel()


_NEXT = _transitions()
_POWERS = 10.0 ** np.arange(MAX_DIGITS + 1)


def parse(
    data: NDArray[np.uint8], starts: NDArray[Any], stops: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers such as `  -94,5` (blanks around, decimal point or comma) in `data[start:stop]`.

    Returns the values, and a mask of those that are numbers; the others' values mean nothing.
    """
    values, good = _aligned(data, starts, stops)
    odd = np.flatnonzero(~good)
    if odd.size:
        values[odd], good[odd] = _any(data, starts[odd], stops[odd])
    return values, good


def _aligned(
    data: NDArray[np.uint8], starts: NDArray[Any], stops: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """As `parse`, for numbers that end at the field's end with as many decimals as the first has.

    What is not of this shape is not marked as good, even if it is a number.
    """
    if not starts.size:
        return np.empty(0), np.empty(0, bool)
    width = int(np.clip((stops - starts).max(), 1, MAX_DIGITS))
    places = (stops - width) + np.arange(width)[:, None]
    table = data.take(places, mode="clip")
    table[places < starts] = ord(" ")
    values, good = parse_table(table)
    return values, good & (stops - starts > 0) & (stops - starts <= width)


def parse_table(table: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers [n] out of right-aligned characters [column, number], at most `MAX_DIGITS` columns.

    All have as many decimals as the first; others are not marked as good, even if they are numbers.
    """
    width = len(table)
    good = np.ones(table.shape[1], bool)
    whole, decimals = table, 0
    first = table[:, 0].tobytes().replace(b",", b".")
    if b"." in first:
        point = first.index(b".")
        decimals = width - 1 - point
        good &= (table[point] == ord(".")) | (table[point] == ord(","))
        whole = np.delete(table, point, axis=0)
        good &= (whole[point - 1] - 48 < 10) if point else False
    digits = whole - 48  # uint8 wraps round: only digits are below 10
    is_digit = digits < 10
    minus = whole == ord("-")
    good &= is_digit[-1] if len(whole) else False
    good &= (is_digit | minus | (whole == ord(" "))).all(axis=0)
    # Once digits have begun they go on, and a sign stands right before them.
    good &= (is_digit[1:] >= (is_digit | minus)[:-1]).all(axis=0)
    number = np.zeros(table.shape[1], np.int64)
    blank = int(is_digit.any(axis=1).argmax()) if len(whole) else 0
    for column in digits[blank:] * is_digit[blank:]:
        number *= 10
        number += column
    values = number / _POWERS[decimals]
    return np.where(minus.any(axis=0), -values, values), good


def _any(
    data: NDArray[np.uint8], starts: NDArray[Any], stops: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """As `parse`, character after character, for any number of the grammar."""
    widths = stops - starts
    good = (widths > 0) & (widths <= MAX_DIGITS)
    count = widths.size
    state = np.full(count, _LEAD, np.int64)
    number = np.zeros(count, np.int64)
    fraction = np.zeros(count, np.int64)
    negative = np.zeros(count, bool)
    limit = data.size - 1
    for column in range(int(widths[good].max(initial=0))):
        inside = column < widths
        char = data[np.minimum(starts + column, limit)]
        after = _NEXT[state * 256 + char]
        state = np.where(inside, after, state)
        digit = inside & (char - 48 < 10)  # uint8 wraps round: only digits are below 10
        number = np.where(digit, number * 10 + char - 48, number)
        fraction += digit & (state == _FRACTION)
        negative |= inside & (char == 45)
    good &= (state == _WHOLE) | (state == _FRACTION) | (state == _TRAIL)
    values = number / _POWERS[fraction]
    return np.where(negative, -values, values), good


def row(text: bytes) -> NDArray[np.float64]:
    """One number a field between commas; NaN for what is no finite number."""
    if not text:
        return np.array([np.nan])
    data = np.frombuffer(text, np.uint8)
    commas = np.flatnonzero(data == ord(","))
    starts, stops = np.append(0, commas + 1), np.append(commas, data.size)
    values, good = parse(data, starts, stops)
    odd = np.flatnonzero(~good)
    if odd.size:
        # Exponents, infinities, and what is no number at all.
        places = zip(starts[odd].tolist(), stops[odd].tolist(), strict=True)
        values[odd] = floats([text[start:stop] for start, stop in places])
    return values


def floats(fields: list[bytes]) -> NDArray[np.float64]:
    """One number a field; NaN for what is no finite number."""
    try:
        values = np.array(fields, dtype=bytes).astype(np.float64)
    except ValueError:
        values = np.array([_float(field) for field in fields])
    values[~np.isfinite(values)] = np.nan
    return values


def _float(field: bytes) -> float:
    try:
        return float(field)
    except ValueError:
        return float("nan")
