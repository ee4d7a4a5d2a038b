"""Two complete installations and a bad link between them: in the end both catalogs are equal."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from lab import sshd as lab_sshd
from lab import system as lab_system
from lab.crashing import Points
from lab.link import Link
from lab.system import System
from tests.integration.exchange.conftest import differences
from tests.integration.exchange.test_faults import STEPS
from tests.integration.publishing.rows import file, fill, spectrum
from uploaderd.messages import routing_key

PATIENCE_S = 120.0
ROUNDS = 16


def add_service(system: System, service: str, behaviour: dict[str, Any]) -> None:
    """One more service file; it and no other one is run."""
    like = json.loads((system.services / "publish.json").read_text())
    like |= {"service": service, "behaviour": behaviour}
    like["rabbitmq"] |= {"queue": service, "bindings": [routing_key(service)]}
    place = system.services / f"{service}.json"
    place.write_text(json.dumps(like))
    place.chmod(0o600)
    values = json.loads(system.config.read_text())
    values |= {
        "services": [service],
        "supervision": {"crash_limit": 1000, "restart_delay_max_s": 1},
    }
    system.config.write_text(json.dumps(values))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_both_sides_die_and_the_link_breaks_and_nothing_is_missing(tmp_path: Path) -> None:
    points = [Points(tmp_path / name) for name in ("north-points", "south-points")]
    for each in points:
        each.make()
    sshd = lab_sshd.start(tmp_path / "sshd")
    systems: list[System] = []
    try:
        for name, each in zip(("north", "south"), points, strict=True):
            systems.append(lab_system.start(tmp_path / name, each.environment))
        with Link((sshd.host, sshd.port)) as proxy:
            storm(tmp_path, sshd, systems, points, proxy)
    finally:
        for system in systems:
            system.stop()
        sshd.stop()


def storm(
    folder: Path,
    sshd: lab_sshd.Sshd,
    systems: list[System],
    points: list[Points],
    proxy: Link,
) -> None:
    north, south = systems
    add_service(
        north,
        "send",
        {
            **{"kind": "sftp", "sender": "north", "outbox": str(folder / "outbox")},
            **{"host": "127.0.0.1", "port": proxy.port, "user": sshd.user, "timeout_s": 5},
            **{"key_file": str(sshd.key_file), "folder": str(folder / "inbox")},
            "free_space_floor_mb": 1,
        },
    )
    add_service(south, "receive", {"inbox": str(folder / "inbox"), "free_space_floor_mb": 1})
    chance = random.Random(8)
    with north.catalog() as ours, south.catalog() as theirs:
        fill(ours)
        for system in systems:
            system.launch_daemon()
        for number in range(ROUNDS):
            ours.insert("spectra", [spectrum(5000 + number), spectrum(number, level_max=number)])
            ours.insert("files", [file(5000 + number)])
            for each in points:
                step = f"{chance.choice(STEPS)}:{chance.choice(('before', 'after'))}"
                each.arm(step, "SIGKILL")
                each.step_clock(chance.choice((-3600, 0, 3600)))
            proxy.cut_after(chance.choice((None, 5_000, 20_000)), seed=number)
            proxy.delay_s = chance.choice((0.0, 0.02))
            turn(systems, chance.uniform(1, 4))
        hits = [hit for each in points for hit in each.take_hits()]
        for each in points:
            each.disarm()
        proxy.cut_after(None)
        proxy.reset()
        until = time.monotonic() + PATIENCE_S
        while wrong := differences(ours, theirs):
            assert time.monotonic() < until, (wrong, north.log.read_text()[-4000:])
            turn(systems, 2)
        assert hits


def turn(systems: list[System], seconds: float) -> None:
    """Asks for an export and for a watch, and lets them go on for a while."""
    systems[0].fire("send", mode="partial")
    systems[1].fire("receive", watch_s=3)
    time.sleep(seconds)
