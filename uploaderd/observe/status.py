"""What the daemon is doing, as one object: for `status.json`, the pages and `uploaderctl`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uploaderd import crash_points
from uploaderd.observe.states import FINE

OK, DEGRADED, DOWN = 0, 1, 2


@dataclass(frozen=True)
class Status:
    """A moment of the daemon's life; times are Unix seconds. docs/operations.md has the keys."""

    version: str
    pid: int
    started: float
    time: float
    stopping: bool
    reload_error: str
    """Why the last reload was refused; empty: it was not."""
    http_port: int | None
    instances: tuple[dict[str, Any], ...]
    services: tuple[dict[str, Any], ...]
    disks: tuple[dict[str, Any], ...]
    samples: Mapping[str, float]
    """What `/metrics` shows; it is no part of `status.json`."""


def as_json(status: Status) -> dict[str, Any]:
    """The status as `status.json` has it, with its verdict."""
    value = dataclasses.asdict(status)
    del value["samples"]
    return {"health": health(value), **value}


def health(status: dict[str, Any]) -> int:
    """0: all is well; 1: a service is not fine, or a reload was refused; 2: no instance runs."""
    running = [each["state"] in ("running", "starting") for each in status["instances"]]
    if not any(running):
        return DOWN
    fine = all(each["state"] in FINE for each in status["services"])
    return OK if all(running) and fine and not status["reload_error"] else DEGRADED


def write_status(run_dir: Path, status: Status) -> None:
    """Replaces `status.json` at once: a reader sees the old one or the new one.

    Raises OSError.
    """
    new = run_dir / ".status.json.new"
    new.write_text(json.dumps(as_json(status)) + "\n", encoding="utf-8")
    crash_points.reached("status-written:before")
    new.replace(run_dir / "status.json")
    crash_points.reached("status-written:after")
