"""CelZip gives back what was packed, and what is before a cut or a bad code."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploaderd.formats.cellplan_dbm import celzip
from uploaderd.formats.writers.celzip import pack


def codes_of(packed: bytes) -> celzip.Codes:
    count = (len(packed) - celzip.HEADER_SIZE) // 2
    return np.frombuffer(packed, "<u2", count=count, offset=celzip.HEADER_SIZE)


def unpack(packed: bytes) -> bytes:
    return b"".join(part.tobytes() for part in celzip.decode(codes_of(packed)))


@given(st.binary(max_size=2000))
def test_what_was_packed_comes_back(data: bytes) -> None:
    assert unpack(pack(data)) == data


@pytest.mark.parametrize(
    "data",
    [
        bytes(1_000_000),
        random.Random(1).randbytes(700_000),
        bytes(range(256)) * 2500,
        b"ab" * 65_535 + b"c",
    ],
    ids=["zeros", "noise", "ramp", "one byte into a second chunk"],
)
def test_many_chunks_come_back(data: bytes) -> None:
    packed = pack(data)
    header = celzip.read_header(packed)
    assert header == celzip.Header(len(data), len(packed), -(-len(data) // celzip.CHUNK_SIZE))
    assert unpack(packed) == data


REPEATED = random.Random(2).randbytes(200) * 1000
PACKED = pack(REPEATED)


@given(st.integers(celzip.HEADER_SIZE, len(PACKED)))
def test_a_cut_file_gives_what_is_before_the_cut(size: int) -> None:
    assert REPEATED.startswith(unpack(PACKED[:size]))


def test_a_bad_code_keeps_the_chunks_before_it() -> None:
    data = random.Random(3).randbytes(celzip.CHUNK_SIZE * 6)
    packed = bytearray(pack(data))
    third = celzip.spans(codes_of(bytes(packed)))[0][2]
    at = celzip.HEADER_SIZE + 2 * (third.start + 10)
    packed[at : at + 2] = (60_000).to_bytes(2, "little")
    assert unpack(bytes(packed)) == data[: 2 * celzip.CHUNK_SIZE]


def test_a_chunk_that_grows_beyond_its_bound_is_refused() -> None:
    growing = [0, *range(256, 256 + 4000)]
    assert list(celzip.decode(np.array(growing, np.uint16))) == []


@given(st.lists(st.integers(0, 0xFFFF), max_size=400))
def test_any_codes_decode_to_something_bounded(codes: list[int]) -> None:
    parts = list(celzip.decode(np.array(codes, np.uint16)))
    assert sum(part.size for part in parts) <= celzip.CHUNK_SIZE * (len(codes) + 1)


def test_other_data_is_not_celzip() -> None:
    assert celzip.read_header(b"[CelZip 10-15]") is None
    assert celzip.read_header(bytes(500)) is None
