"""One running system for the console's tests: files filed, a file in the trash, stations ailing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.truth import Site, site, wait_until
from uploaderd.ctl.main import main

FILES = 3
STAGES = {"processed": FILES, "trashed": 1, "failed": 1}
GARBAGE = "garbage.bin"
UNREACHABLE, REFUSED = 9, 10
CANARY = "canary-0815"


@dataclass(frozen=True)
class Live:
    """The system, and the console's commands on it."""

    site: Site

    @property
    def files(self) -> list[str]:
        """The options that name its configuration."""
        return ["-c", str(self.site.system.config), "-s", str(self.site.system.services)]

    def status(self) -> dict[str, Any]:
        """What the daemon wrote last."""
        text = (self.site.system.folder / "run" / "status.json").read_text()
        status: dict[str, Any] = json.loads(text)
        return status

    def explain(self, name: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
        """What `explain --json` tells."""
        capsys.readouterr()
        main(["explain", name, "--json", *self.files])
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with site(tmp_path_factory.mktemp("live")) as here:
        system = here.system
        system.daemon_settings = {
            "http": {"enabled": True, "port": 0},
            "status": {"look_interval_s": 0.5, "idle_s": 3600},
            # Nobody takes mail there: what is counted of it is seen all the same.
            "notifier": {
                "mail": {"host": "127.0.0.1", "port": 9, "sender": "a@b", "recipients": ["c@d"]}
            },
            "supervision": {"status_interval_s": 0.3, "restart_delay_s": 0.1},
        }
        system.configure()
        here.station.write(GARBAGE, b"this is no recording\n" * 50)
        here.measure(FILES)
        with here.station.index.open("ab") as index:
            index.write(bytes(here.station.data) + b"\0/vanished.bin\0\n")
        system.start_daemon()
        here.ask()
        near = {"host_add": "127.0.0.1", "user": "nobodyhere"}
        system.fire("backup", host_id=UNREACHABLE, host_uid="far", host_port=9, **near)
        system.fire(
            "backup",
            host_id=REFUSED,
            host_uid="locked",
            host_port=here.server.port,
            passwd=CANARY,
            **near,
        )
        wait_until(lambda: here.stages() == STAGES)
        live = Live(here)
        wait_until(lambda: _dead(live) == 1)
        yield live


def _dead(live: Live) -> int:
    services = {each["service"]: each for each in live.status()["services"]}
    return int((services["backup"]["queue"] or {}).get("dead", 0))


@pytest.fixture
def folder(live: Live) -> Path:
    """The system's folder."""
    return live.site.system.folder
