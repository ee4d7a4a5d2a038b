"""Both ways to inflate give the same, of sound and of damaged streams."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploaderd.formats.rflook_bin import inflating

STREAM = gzip.compress(b"a level, and another" * 50, 6, mtime=0)
WAYS = [inflating.with_zlib, inflating.inflated]


@pytest.mark.parametrize("inflated", WAYS)
def test_only_whole_streams_of_a_bounded_size_are_inflated(inflated: inflating.Inflate) -> None:
    assert inflated(STREAM, 1000) == b"a level, and another" * 50
    assert inflated(STREAM + b"tail", 4000) == b"a level, and another" * 50
    assert inflated(STREAM, 999) is None
    assert inflated(STREAM[:-9], 1000) is None
    assert inflated(b"", 1000) is None


@given(st.binary(max_size=2000), st.integers(1, 2100), st.integers(0), st.integers(0, 255))
def test_they_agree(data: bytes, most: int, place: int, value: int) -> None:
    stream = bytearray(gzip.compress(data, mtime=0))
    stream[place % len(stream)] = value
    assert inflating.with_zlib(bytes(stream), most) == inflating.inflated(bytes(stream), most)
