"""Every reader is fed mutated files for a while, guided by coverage; `scripts/test --all` does."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 20
NAMES = (
    "crfs_bin", "rflook_bin", "cellplan_dbm", "argus_csv", "sm1809", "sweep_csv", "sigmf",
)  # fmt: skip
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="only the extra `fuzz` brings atheris"
)
@pytest.mark.parametrize("name", NAMES)
def test_a_reader_stands_files_mutated_under_coverage(tmp_path: Path, name: str) -> None:
    options = [f"-max_total_time={SECONDS}", "-timeout=30", "-rss_limit_mb=1024", "-seed=1"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.reader", name, str(tmp_path), *options,
         f"-artifact_prefix={tmp_path}/"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert "INFO: seed corpus" in done.stderr
