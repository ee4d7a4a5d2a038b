"""Limits that hold across processes, and end with those who count against them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from uploaderd.errors import StationBusy
from uploaderd.station import slots

HOLDER = """
import sys; from pathlib import Path
from uploaderd.station import slots
with slots.taken(Path(sys.argv[1]), "a station:22", 2, "full"):
    print("held", flush=True); sys.stdin.read()
"""


def test_no_more_than_so_many_are_held_and_other_names_do_not_count(tmp_path: Path) -> None:
    with slots.taken(tmp_path, "a", 2, "full"), slots.taken(tmp_path, "a", 2, "full"):
        with pytest.raises(StationBusy, match="full"), slots.taken(tmp_path, "a", 2, "full"):
            pass
        with slots.taken(tmp_path, "b", 1, "full"), slots.taken(tmp_path, "a", 3, "full"):
            pass
    with slots.taken(tmp_path, "a", 1, "full"):
        pass


def test_no_limit_needs_no_folder(tmp_path: Path) -> None:
    with slots.taken(tmp_path / "none", "a", None, "full"):
        assert not (tmp_path / "none").exists()


def test_slots_of_a_killed_process_are_free(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with (
                slots.taken(tmp_path, "a station:22", 2, "full"),
                pytest.raises(StationBusy),
                slots.taken(tmp_path, "a station:22", 2, "full"),
            ):
                pass
        finally:
            holder.kill()
    with (
        slots.taken(tmp_path, "a station:22", 2, "full"),
        slots.taken(tmp_path, "a station:22", 2, "full"),
    ):
        pass
