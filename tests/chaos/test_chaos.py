"""Nothing lost, nothing twice, whatever goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import run


@pytest.mark.timeout(600)
def test_forty_faults_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    result = run.run(tmp_path, 40, seed=7)
    print(run.table(result))
    assert (result["lost"], result["duplicated"]) == (0, 0)
    assert result["filed"] == result["attempted"]
    assert (result["left_in_index"], result["left_in_tmp"], result["left_halted"]) == (0, 0, False)


@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_two_thousand_faults_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    result = run.run(tmp_path, 2_000, seed=8)
    print(run.table(result))
    assert (result["lost"], result["duplicated"]) == (0, 0)
    assert result["filed"] == result["attempted"]
