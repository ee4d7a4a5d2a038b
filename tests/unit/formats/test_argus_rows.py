"""Rows parsed as columns are the rows that their quotes show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uploaderd.formats.argus_csv import fixed, rows

NAMES = b'"Time","Frequency (Hz)","Level (dBm)","Value Count","File Info"\n'


def row(index: int, level: str, count: int, info: str, end: str) -> bytes:
    text = f'"01/02/2026  10:00:00,000","{88_000_000 + index:12d}","{level}","{count}",{info}{end}'
    return text.encode()


LEVELS = st.sampled_from([" -87,2", "   5,7", "-107,25", "x", "", ' -8"7,2', "12", " 1,234"])
ROWS = st.tuples(
    LEVELS, st.sampled_from([0, 5, 30]), st.sampled_from(["", '"Name: a"']), st.integers(0, 90)
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_runs_of_one_width_give_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[tuple[str, int, str, int]], end: str
) -> None:
    lines = [
        row(index, level, count, info, end)
        for level, count, info, times in runs
        for index in range(times)
    ]
    path = tmp_path / "a.csv"
    path.write_bytes(NAMES + b"".join(lines))
    quick = collected(path)
    with monkeypatch.context() as patch:
        patch.setattr(fixed, "SHORTEST", 1 << 30)
        slow = collected(path)
    assert quick == slow


def collected(path: Path) -> tuple[list[bytes], list[list[float]], int]:
    """Times, numbers and bad rows of a file."""
    plan = rows.layout(path.read_bytes())
    assert plan is not None
    stamps: list[bytes] = []
    numbers: list[list[float]] = []
    bad = 0
    for block in some(rows.read(path, plan)):
        stamps += [block.data[a:b].tobytes() for a, b in block.stamps.tolist()]
        numbers += np.column_stack([block.frequency, block.level, block.counts]).tolist()
        bad += block.bad
    return stamps, numbers, bad


def some(blocks: Iterator[rows.Rows]) -> Iterator[rows.Rows]:
    return (block for block in blocks if block.bad or block.frequency.size)
