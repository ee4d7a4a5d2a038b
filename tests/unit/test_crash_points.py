"""Crash points: the list is the truth, and without a hook they are nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import uploaderd
from lab.crashing import Points
from uploaderd import crash_points

PACKAGE = Path(uploaderd.__file__).parent


def test_every_listed_point_has_its_place_in_the_program_and_every_place_is_listed() -> None:
    called = set()
    for path in PACKAGE.rglob("*.py"):
        called |= set(re.findall(r'crash_points\.reached\(\s*"([^"]+)"', path.read_text()))
    assert called == set(crash_points.POINTS)


def test_without_a_hook_a_crash_point_is_an_empty_function() -> None:
    assert crash_points.reached.__name__ == "_nothing"
    assert crash_points.reached.__code__.co_names == ()


def test_an_armed_point_ends_the_first_process_that_reaches_it_and_no_other(
    tmp_path: Path,
) -> None:
    points = Points(tmp_path)
    points.make()
    points.arm("settled-row:after", "SIGKILL")
    program = (
        "from uploaderd import crash_points as c; c.install_hook();"
        "c.reached('settled-row:before'); c.reached('settled-row:after')"
    )

    def run() -> int:
        return subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **points.environment},
            check=False,
            cwd=PACKAGE.parent,
        ).returncode

    assert run() == -signal.SIGKILL
    assert [hit.point for hit in points.take_hits()] == ["settled-row:after"]
    assert run() == 0
    assert points.disarm() == []
