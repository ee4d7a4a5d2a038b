"""Whoever is killed, and whenever: every file lands exactly once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.truth import (
    Site,
    assert_everything_is_home_once,
    signal_service,
    site,
    wait_until,
)

FILES = 24
# A message over which its process died twice is quarantined, for somebody to look at. So process is
# killed again only after it went on, and backup, whose message is the same for long, once.
KILLS = {"process": (1, FILES // 3, FILES // 2), "backup": (1,)}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", ["process", "backup"])
def test_a_service_that_is_killed_in_mid_run_loses_nothing_and_repeats_nothing(
    here: Site, service: str
) -> None:
    here.measure(FILES)
    here.system.behaviour["backup"]["slice_files"] = FILES // 3
    here.system.configure()
    here.system.start_daemon()
    here.ask()
    for share in KILLS[service]:
        wait_until(lambda least=share: here.stages()["processed"] >= least)
        wait_until(lambda: signal_service(here.system, service, signal.SIGKILL))
    wait_until(lambda: here.stages() == {"processed": FILES} and not here.station.flag.exists())
    wait_until(lambda: here.station.index.read_bytes() == b"" and not here.waiting())
    assert here.system.stop_daemon() == 0
    assert_everything_is_home_once(here, FILES)
