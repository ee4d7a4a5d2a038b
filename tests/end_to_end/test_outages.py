"""The broker, the database or the link is gone for a while: the work waits, and goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import database
from tests.end_to_end.truth import Site, assert_everything_is_home_once, site, wait_until

FILES = 18


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        made.measure(FILES)
        made.system.behaviour["backup"]["slice_files"] = FILES // 3
        made.system.configure()
        made.system.start_daemon()
        # RabbitMQ 3.10 forgets a quorum queue if it is killed within seconds of its declaration.
        time.sleep(5)
        yield made


@pytest.mark.timeout(400)
def test_broker_database_and_station_are_killed_one_after_the_other(here: Site) -> None:
    here.ask()
    wait_until(lambda: sum(here.stages().values()) > 0)
    here.system.broker.kill()
    here.system.broker.start_again()
    wait_until(lambda: here.stages()["processed"] > 0)
    here.system.database.kill()
    port = here.system.database.settings.port
    here.system.database = database.start(here.system.folder / "database", port)
    here.server.stop()
    here.server.restart()
    wait_until(lambda: here.stages() == {"processed": FILES}, 150)
    wait_until(lambda: here.station.index.read_bytes() == b"" and not here.waiting(), 60)
    assert here.system.stop_daemon() == 0
    assert_everything_is_home_once(here, FILES)
