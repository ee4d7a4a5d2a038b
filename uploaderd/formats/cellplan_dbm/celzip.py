"""CelZip, the compression of CellPlan stations: LZW of 16-bit codes in independent chunks.

Codes 0 to 255 are bytes, entries count up from 256, `0xFFFE` ends a chunk (and forgets the
dictionary), `0xFFFF` ends the data; see docs/formats/cellplan_dbm.md. Entry 256 + i of a chunk is
the string of code i and the first byte of code i + 1. So a string is walked backwards, from its
last byte to its first, along a chain of entries; all codes of a group of chunks are walked at
once, one step a round, and what is left of them shrinks quickly.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAGIC = b"[CelZip 10-15]"
HEADER_SIZE = 160
CHUNK_SIZE = 131_070
"""Original bytes of every chunk but the last, which is shorter."""
END_OF_CHUNK = 0xFFFE
END_OF_DATA = 0xFFFF
GROUP = 4
"""Chunks decoded together: enough to share the cost of a round, few enough for 20 MB."""

Codes = npt.NDArray[np.uint16]
Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Header:
    """What the first 160 bytes say: lengths in bytes, the number of chunks."""

    original_size: int
    packed_size: int
    chunks: int


@dataclass(frozen=True)
class Span:
    """The codes of one chunk, `start` inclusive to `stop` exclusive, without its end code."""

    start: int
    stop: int


class BadCode(ValueError):
    """A code refers to an entry that is not there yet, or the chunk grows beyond its bound."""


def read_header(data: bytes | memoryview) -> Header | None:
    """The header, or None if the data is not CelZip or shorter than its header."""
    if len(data) < HEADER_SIZE or bytes(data[: len(MAGIC)]) != MAGIC:
        return None
    original, packed, _, chunks = struct.unpack_from("<IIfI", data, 144)
    return Header(original, packed, chunks)


def spans(codes: Codes) -> tuple[list[Span], bool]:
    """The chunks among the codes, and whether the end code was found (else the file is cut)."""
    end, complete = _find(codes, END_OF_DATA)
    marks = np.flatnonzero(codes[:end] == END_OF_CHUNK)
    starts = [0, *(int(mark) + 1 for mark in marks)]
    stops = [*(int(mark) for mark in marks), end]
    found = [Span(a, b) for a, b in zip(starts, stops, strict=True) if b > a]
    return found, complete


def _find(codes: Codes, wanted: int) -> tuple[int, bool]:
    block = 1 << 20
    for start in range(0, len(codes), block):
        hits = np.flatnonzero(codes[start : start + block] == wanted)
        if hits.size:
            return start + int(hits[0]), True
    return len(codes), False


def decode(codes: Codes) -> Iterator[Bytes]:
    """The original bytes, some chunks at a time; ends early, without a word, at a bad code.

    Chunks before a bad one are whole, and nothing of the bad one is given. Whoever needs to know
    compares the sum of the lengths with the header.
    """
    chunks, _ = spans(codes)
    for first in range(0, len(chunks), GROUP):
        group = chunks[first : first + GROUP]
        try:
            yield _decode_group(codes, group)
        except BadCode:
            yield from _decode_singly(codes, group)
            return


def _decode_singly(codes: Codes, group: list[Span]) -> Iterator[Bytes]:
    for span in group:
        try:
            yield _decode_group(codes, [span])
        except BadCode:
            return


def _decode_group(codes: Codes, group: list[Span]) -> Bytes:
    """Decodes whole chunks together; raises BadCode if any of them is not sound."""
    values = np.concatenate([codes[span.start : span.stop] for span in group])
    sizes = np.array([span.stop - span.start for span in group])
    bases = np.cumsum(sizes) - sizes
    # Literals stay below zero, entries become the position of the code that made them.
    parents = values.astype(np.int64)
    parents -= 256
    chained = np.flatnonzero(parents >= 0).astype(np.int64)
    reached = parents[chained] + np.repeat(bases, sizes).astype(np.int64)[chained]
    if bool(np.any(reached >= chained)):
        raise BadCode
    parents[chained] = reached
    rounds = _walk(parents, chained, reached, limit=CHUNK_SIZE * len(group) - values.size)
    literals = values.astype(np.uint8)
    firsts = literals.copy()
    lengths = np.ones(values.size, np.int64)
    for depth, (positions, entries) in enumerate(rounds):
        # A later round goes on from here, and overwrites both.
        firsts[positions] = literals[entries]
        lengths[positions] = depth + 2
    if bool(np.any(np.add.reduceat(lengths, bases) > CHUNK_SIZE)):
        raise BadCode
    lasts = np.cumsum(lengths, dtype=np.int64)
    lasts -= 1
    out = np.empty(int(lasts[-1]) + 1, np.uint8)
    # The last byte of an entry is the first of the code after the one that made it.
    seconds = np.empty_like(firsts)
    seconds[:-1] = firsts[1:]
    for depth, (positions, entries) in enumerate(rounds):
        out[lasts[positions] - depth] = seconds[entries]
    out[lasts + 1 - lengths] = firsts
    return out


def _walk(
    parents: Indices, positions: Indices, reached: Indices, limit: int
) -> list[tuple[Indices, Indices]]:
    """Walks every chain to its literal, one step a round.

    Gives for every round the codes still on their way and the entry that each has reached. Raises
    BadCode once the steps, each a byte of the output, exceed the limit.
    """
    rounds = []
    while positions.size:
        limit -= positions.size
        if limit < 0:
            raise BadCode
        rounds.append((positions, reached))
        reached = parents[reached]
        left = np.flatnonzero(reached >= 0)
        positions, reached = positions[left], reached[left]
    return rounds


def is_complete(codes: Codes) -> bool:
    """Whether the end code is there; without it the file was cut."""
    return _find(codes, END_OF_DATA)[1]
