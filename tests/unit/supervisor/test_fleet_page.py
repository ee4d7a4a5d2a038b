"""What the page of stations and targets tells without a database."""

from __future__ import annotations

import json
from pathlib import Path

from lab.ports import free_ports
from uploaderd.exchange import checks
from uploaderd.exchange.target import Finding
from uploaderd.supervisor.fleet_page import FleetPage
from uploaderd.supervisor.plan import read_plan


def test_targets_are_told_with_what_their_last_check_found(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"run_dir": str(tmp_path)}))
    folder = tmp_path / "services.d"
    folder.mkdir()
    for name in ("central", "south"):
        queue = {"queue": name, "bindings": ["catalog.send"], "hosts": ["127.0.0.1:1"]}
        place = {"kind": "rest", "sender": "north", "url": "http://127.0.0.1:1"}
        service = {
            "service": "send",
            "behaviour": {**place, "outbox": str(tmp_path / name)},
            "database": {"host": "127.0.0.1", "port": free_ports(1)[0]},
            "rabbitmq": queue,
        }
        (folder / f"{name}.json").write_text(json.dumps(service))
    found = [Finding("connect", False, "nobody answers")]
    checks.record(tmp_path / "south", "south", "bad", "nobody answers", found)
    page = FleetPage(lambda: read_plan(tmp_path / "config.json", folder))()
    assert page["catalog_error"]
    central, south = page["targets"]
    assert (central["target"], central["state"], central["at"]) == ("central", "unknown", None)
    assert (south["state"], south["text"]) == ("bad", "nobody answers")
    assert south["since"] == south["at"] > 0
