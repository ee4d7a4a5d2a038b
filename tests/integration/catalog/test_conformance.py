from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_drivers_own_tests_pass_but_for_the_expected_differences() -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "lab.conformance"]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
