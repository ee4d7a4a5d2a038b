from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploaderd.formats import statistics
from uploaderd.formats.statistics import CodeStatistics, FloatStatistics


def percentile(levels: np.ndarray, p: int) -> float:
    ordered = np.sort(levels.ravel())
    return float(ordered[max(-(-len(ordered) * p // 100), 1) - 1])


@given(st.integers(1, 3000), st.integers(1, 20), st.integers(0, 2**32))
def test_code_statistics_equal_those_of_the_whole_array(points: int, n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (n, points), dtype=np.uint8)
    shifts = random.integers(-256, 255, n)
    levels = (codes + shifts[:, None]) / 2 - 127.5
    gathered = CodeStatistics(points, span=768, step=0.5, zero=-127.5)
    gathered.add(codes[:3], shifts[:3])
    gathered.add(codes[3:], shifts[3:])
    found = gathered.result()
    assert found is not None
    assert found.count == levels.size
    assert (found.min, found.max) == (levels.min(), levels.max())
    assert np.isclose(found.mean, levels.mean())
    assert [found.p10, found.p50, found.p90] == [percentile(levels, p) for p in (10, 50, 90)]
    bins = len(found.profile.min)
    k = bins // 2
    column = levels[:, k * points // bins : (k + 1) * points // bins]
    assert found.profile.max[k] == column.max()
    assert found.profile.p90[k] == percentile(column, 90)
    assert gathered.last_trace is not None
    assert gathered.last_trace.sum == levels[-1].sum()


@given(st.integers(1, 300), st.integers(2, 40), st.integers(0, 60), st.integers(0, 2**32))
def test_traces_with_nearly_one_offset_keep_their_levels(
    points: int, n: int, spread: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(40, 230, (n, points), dtype=np.uint8)
    shifts = random.integers(-spread, spread + 1, n)
    levels = (codes + shifts[:, None]) / 2
    gathered = CodeStatistics(points, span=256, step=0.5)
    gathered.add(codes, shifts)
    found = gathered.result()
    assert found is not None
    assert (found.min, found.max) == (levels.min(), levels.max())
    assert np.isclose(found.mean, levels.mean())
    assert (found.p10, found.p90) == (percentile(levels, 10), percentile(levels, 90))
    assert (found.percentile_levels, found.percentile_rounding) == (levels.size, 0.0)


def test_percentiles_of_a_very_large_flow_say_how_many_levels_they_rest_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics, "EXACT_LEVELS", 1000)
    codes = np.random.default_rng(1).normal(120, 16, (8000, 7)).astype(np.uint8)
    gathered = CodeStatistics(7, span=256, step=1.0)
    for begin in range(0, 8000, 100):
        gathered.add(codes[begin : begin + 100])
    found = gathered.result()
    assert found is not None
    assert (found.min, found.max) == (codes.min(), codes.max())
    assert found.mean == pytest.approx(codes.mean())
    assert codes.size / 8 < found.percentile_levels < codes.size / 6
    bound = 1.36 / np.sqrt(found.percentile_levels / 7)
    for p, level in ((10, found.p10), (50, found.p50), (90, found.p90)):
        assert (codes < level).mean() < p / 100 + bound
        assert (codes <= level).mean() > p / 100 - bound


def test_missing_levels_are_left_out_of_float_statistics() -> None:
    levels = np.array([[1.0, np.nan, -np.inf], [3.0, 4.0, np.nan]], np.float32)
    gathered = FloatStatistics(3)
    gathered.add(levels)
    found = gathered.result()
    assert found is not None
    assert (found.count, found.min, found.max) == (3, 1.0, 4.0)
    assert np.isclose(found.mean, 8 / 3)
    assert found.p50 == 3.0
    assert np.isnan(found.profile.mean[2])
    assert found.profile.mean[:2] == (2.0, 4.0)


def test_nothing_added_gives_no_statistics() -> None:
    assert FloatStatistics(5).result() is None
    assert CodeStatistics(5, span=256, step=0.5).result() is None
