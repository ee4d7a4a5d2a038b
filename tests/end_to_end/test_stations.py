"""Stations of a whole system: taken in turns, and looked at by whoever asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.station import Station, lay_out
from tests.end_to_end.truth import HOST, UID, Site, site, wait_until

SMALL = 8
LARGE_FILES, SLICE = 20, 4


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


def enable_host_check(here: Site) -> None:
    """Adds the service to the system's files, with the settings of backup's stations."""
    services = here.system.services
    backup = json.loads((services / "backup.json").read_text())
    keys = ("agent_config", "key_file", "user", "known_hosts")
    backup["behaviour"] = {k: v for k, v in backup["behaviour"].items() if k in keys}
    backup["behaviour"] |= {"free_space_floor_mb": 0, "halt_look_again_s": 0}
    backup["service"] = "host-check"
    backup["rabbitmq"] |= {"queue": "host-check", "bindings": ["host.check"]}
    (services / "host-check.json").write_text(json.dumps(backup))


def fire_backup(here: Site, host_id: int, station: Station) -> None:
    sent = here.system.fire(
        "backup",
        host_id=host_id,
        host_uid=f"rfeye{host_id:06d}",
        host_add=here.server.host,
        host_port=here.server.port,
        user=here.server.user,
        agent_config=str(station.config_path),
    )
    assert sent.returncode == 0, sent.stderr


@pytest.mark.timeout(300)
def test_a_large_station_does_not_starve_a_small_one_on_the_same_worker(
    here: Site, tmp_path: Path
) -> None:
    here.measure(LARGE_FILES)
    small = lay_out(tmp_path / "small")
    for name in ("one.bin", "two.bin"):
        small.write(name, name.encode())
    small.run_agent().check_returncode()
    here.system.behaviour["backup"]["slice_files"] = SLICE
    here.system.configure()
    here.system.start_daemon()
    fire_backup(here, HOST, here.station)
    fire_backup(here, SMALL, small)

    def done() -> list[int]:
        with here.system.catalog() as catalog:
            rows = catalog.query(
                "SELECT host_id FROM host_events_now WHERE event = 'backup_done' ORDER BY at"
            )
        return [row["host_id"] for row in rows]

    wait_until(lambda: len(done()) == 2, 150)
    assert done() == [SMALL, HOST]
    assert here.station.index.read_bytes() == small.index.read_bytes() == b""


@pytest.mark.timeout(300)
def test_a_station_is_looked_at_by_message_by_request_and_by_command(here: Site) -> None:
    here.system.configure()
    enable_host_check(here)
    here.system.start_daemon()
    here.station.run_agent().check_returncode()
    where = {
        "host_id": HOST,
        "host_uid": UID,
        "host_add": here.server.host,
        "host_port": here.server.port,
        "user": here.server.user,
    }
    found = here.system.ask("host-check", **where)
    assert (found["state"], found["changed"], found["status_query"]) == ("online", 0, 1), found
    here.station.flag.write_bytes(b"by hand")
    assert here.system.ask("host-check", host_id=HOST)["state"] == "halted"
    here.station.flag.unlink()
    here.server.stop()
    answer = here.system.ask("host-request", query_tag="check", **where)
    assert answer["status"] == 1

    def states() -> list[str]:
        with here.system.catalog() as catalog:
            rows = catalog.query(
                "SELECT code FROM host_events_now WHERE event = 'host_check' ORDER BY at"
            )
        return [row["code"] for row in rows]

    wait_until(lambda: states() == ["online", "halted", "offline"])
    status = here.system.ask("host-request", query_tag="catalog", host_id=HOST)
    assert "refuses connections" in status["host_check_message"]
