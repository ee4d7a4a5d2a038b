"""The faults: each is one thing that goes wrong, and comes right again by itself or by us."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from lab import database
from lab.faults import FaultProxy
from lab.system import SERVICES
from tests.end_to_end.truth import Site, signal_service


@dataclass
class Scene:
    """What faults act on."""

    site: Site
    broker_link: FaultProxy
    station_link: FaultProxy
    random: random.Random


def kill_worker(scene: Scene) -> None:
    """SIGKILL to one service process, wherever it is in its work."""
    signal_service(scene.site.system, scene.random.choice(SERVICES), signal.SIGKILL)


def freeze_worker(scene: Scene) -> None:
    """SIGSTOP for a moment: its connections stay, and nobody answers."""
    service = scene.random.choice(SERVICES)
    signal_service(scene.site.system, service, signal.SIGSTOP)
    time.sleep(scene.random.uniform(0.1, 1.0))
    signal_service(scene.site.system, service, signal.SIGCONT)


def kill_supervisor(scene: Scene) -> None:
    """SIGKILL to the supervisor: its children notice and end, and it is started again."""
    daemon = scene.site.system.daemon
    assert daemon is not None
    daemon.kill()
    daemon.wait()
    scene.site.system.start_daemon()


def kill_database(scene: Scene) -> None:
    """SIGKILL to the database, and a start on the same data."""
    system = scene.site.system
    system.database.kill()
    port = system.database.settings.port
    system.database = database.start(system.folder / "database", port)


def kill_broker(scene: Scene) -> None:
    """SIGKILL to the broker, and a start on the same data."""
    scene.site.system.broker.kill()
    scene.site.system.broker.start_again()


def kill_station(scene: Scene) -> None:
    """The station's SSH server ends with all its sessions, and comes back."""
    scene.site.server.stop()
    time.sleep(scene.random.uniform(0, 0.5))
    scene.site.server.restart()


def reset_broker_connections(scene: Scene) -> None:
    """Every connection to the broker is reset."""
    scene.broker_link.reset()


def cut_broker_connections(scene: Scene) -> None:
    """The connections to the broker break at a random byte from now on, for a while."""
    _cut(scene, scene.broker_link, 20_000)


def cut_station_connections(scene: Scene) -> None:
    """The connections to the station break at a random byte from now on, for a while."""
    _cut(scene, scene.station_link, 400_000)


QUICK: tuple[Callable[[Scene], None], ...] = (
    kill_worker,
    freeze_worker,
    kill_station,
    reset_broker_connections,
    cut_broker_connections,
    cut_station_connections,
)
SLOW: tuple[Callable[[Scene], None], ...] = (kill_supervisor, kill_database, kill_broker)
"""Faults that take seconds to come right: one in ten."""


def pick(scene: Scene) -> Callable[[Scene], None]:
    """The next fault."""
    return scene.random.choice(SLOW if scene.random.random() < 0.1 else QUICK)


def _cut(scene: Scene, link: FaultProxy, most: int) -> None:
    link.cut_after(scene.random.randrange(1, most))
    time.sleep(scene.random.uniform(0.2, 1.0))
    link.cut_after(None)
