"""Nothing lost, nothing twice, whatever goes wrong."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from lab.crashing import SIGNALS
from tests.chaos import faults, run


def assert_sound(result: dict[str, Any], count: int) -> None:
    """Every crash point was hit with every signal, and everything came home once."""
    print(run.table(result))
    assert result["faults"] == count
    missed = [
        f"{name} at {point}"
        for point in faults.POINTS
        for name in SIGNALS
        if f"{name} at {point}" not in result["injected"]
    ]
    assert missed == []
    assert run.sound(result)
    assert result["filed"] + result["in_trash"] == result["attempted"] == result["acknowledged"]


@pytest.mark.timeout(1800)
def test_two_hundred_faults_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    assert_sound(run.run(tmp_path, 200, seed=7), 200)


@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_two_thousand_faults_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    assert_sound(run.run(tmp_path, 2_000, seed=8), 2_000)


@pytest.mark.parametrize("count", [1, 7, 40, 200, 2_000])
def test_a_plan_has_as_many_faults_as_asked_for_and_is_the_same_for_a_seed(count: int) -> None:
    one, two = (faults.plan(random.Random(3), count, frozenset()) for _ in range(2))
    assert one == two
    assert len(one) == count
    if count >= 200:
        assert {kind.name for kind in faults.KINDS} <= set(one)
