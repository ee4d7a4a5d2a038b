"""What `uploaderctl status` tells, gathered and checked at the moment of asking."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from uploaderd.broker.depths import all_depths
from uploaderd.config.settings import DaemonSettings, ServiceSettings, StatusSettings
from uploaderd.errors import CatalogError, ConfigError
from uploaderd.observe.states import FINE, Activity, counted, duration, service_state
from uploaderd.observe.status import DEGRADED, DOWN, OK

_STALE = 15
"""A status that is older than so many of its intervals is not believed."""
_DATABASE_S = 5.0


def gather(
    daemon: DaemonSettings, services: Sequence[ServiceSettings], *, local: bool = False
) -> dict[str, Any]:
    """The standing of everything, with its verdict; docs/operations.md has the keys.

    `local` asks neither broker nor database. Raises ConfigError if `status.json` is unreadable.
    """
    shown = daemon_status(daemon)
    if not local:
        _add_queues(shown, services, daemon.status)
        _add_catalog(shown, services, daemon.status)
    _add_disks(shown, daemon.status)
    troubles = [*_troubles(shown, daemon.status)]
    if shown["health"] != DOWN:
        shown["health"] = DEGRADED if troubles else OK
        shown["reason"] = "; ".join(troubles) or "all is well"
    return shown


def daemon_status(daemon: DaemonSettings) -> dict[str, Any]:
    """The daemon's own `status.json`, with what is not true any more corrected.

    It is believed only while its writer lives and keeps writing; and of each process it is seen
    whether it is there. Raises ConfigError if the file is there and cannot be read.
    """
    path = daemon.run_dir / "status.json"
    empty: dict[str, Any] = {"pid": None, "instances": [], "services": [], "disks": []}
    try:
        status: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        reason = f"the daemon has not been started: there is no {path}"
        return {**empty, "health": DOWN, "reason": reason}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    gone = _gone(status, daemon)
    status["instances"] = [_checked(each, orphan=bool(gone)) for each in status["instances"]]
    if gone:
        for service in status["services"]:
            service.update(state="stopped", reason="the daemon does not run")
            service.update(since=status["time"], next="nothing, until the daemon is started")
        return {**status, "health": DOWN, "reason": gone}
    by_name: dict[str, list[dict[str, Any]]] = {}
    for each in status["instances"]:
        by_name.setdefault(each["service"], []).append(each)
    for service in status["services"]:
        _judge(service, by_name[service["service"]], daemon.status)
    if not any(each["state"] in ("running", "starting") for each in status["instances"]):
        return {**status, "health": DOWN, "reason": "no instance runs"}
    return {**status, "health": OK, "reason": ""}


def _gone(status: dict[str, Any], daemon: DaemonSettings) -> str:
    """Why the daemon does not run; empty if it does."""
    pid = status["pid"]
    age = time.time() - status["time"]
    match process_state(pid):
        case "gone":
            return f"the daemon has ended: there is no process {pid}"
        case "frozen":
            return f"the daemon is frozen: its process {pid} was stopped by a signal"
    if age > _STALE * daemon.supervision.status_interval_s:
        return f"the daemon hangs: its last word is {duration(age)} old"
    return ""


def process_state(pid: int) -> str:
    """`alive`, `frozen` (stopped by a signal) or `gone`: not there, a zombie, or another program.

    See proc(5): the state follows the name in parentheses, which may hold any character.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2][:1]
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "gone"
    if state in "ZX" or b"uploaderd" not in command:
        return "gone"
    return "frozen" if state in "Tt" else "alive"


def _checked(instance: dict[str, Any], *, orphan: bool) -> dict[str, Any]:
    """The instance as its process is now."""
    pid = instance["pid"]
    seen = process_state(pid) if pid else "gone"
    now = time.time()
    if pid and seen == "frozen":
        reason = f"its process {pid} was stopped by a signal"
        return {**instance, "state": "frozen", "reason": reason, "since": now}
    if orphan and seen == "alive":
        reason = "its supervisor is gone; it finishes the work in hand, and ends"
        return {**instance, "state": "stopping", "reason": reason, "since": now}
    if orphan:
        since = instance["since"] if instance["state"] == "stopped" else now
        reason = "the daemon does not run"
        ended = {"state": "stopped", "reason": reason, "since": since, "pid": None, "next": None}
        return {**instance, **ended}
    if pid and seen == "gone":
        reason = f"its process {pid} has just ended; the supervisor starts another one"
        return {**instance, "state": "waiting", "reason": reason, "since": now, "pid": None}
    return instance


def _judge(
    service: dict[str, Any], instances: Sequence[dict[str, Any]], limits: StatusSettings
) -> None:
    """Sets the service's state anew, from what is known now; `since` stays if the state does."""
    state = service_state(instances, service["queue"], Activity(**service["activity"]), limits)
    if state.name != service["state"]:
        service["since"] = time.time()
    service.update(state=state.name, reason=state.reason, next=state.next)


def _add_queues(
    shown: dict[str, Any], services: Sequence[ServiceSettings], limits: StatusSettings
) -> None:
    """Looks at each queue now, and judges the services by that."""
    asked = [each for each in services if each.queue.bindings]
    told = all_depths([(each.broker, each.queue) for each in asked])
    known = {each["service"]: each for each in shown["services"]}
    shown["queues"] = []
    for settings, depths in zip(asked, told, strict=True):
        error = depths if isinstance(depths, str) else ""
        numbers = {} if isinstance(depths, str) else depths
        service = known.get(settings.name, {})
        entry = {"service": settings.name, "queue": settings.queue.name, "error": error, **numbers}
        activity = service.get("activity", {})
        entry["in_flight"] = activity.get("in_flight", 0)
        entry["rate"] = activity.get("rate", 0.0)
        entry["oldest_s"] = activity.get("oldest_s")
        shown["queues"].append(entry)
        if service and shown["health"] != DOWN:
            service["queue"] = entry
            own = [each for each in shown["instances"] if each["service"] == settings.name]
            _judge(service, own, limits)


def _add_catalog(
    shown: dict[str, Any], services: Sequence[ServiceSettings], limits: StatusSettings
) -> None:
    from uploaderd.catalog import fleet
    from uploaderd.catalog.client import Catalog

    databases = [each.database for each in services if each.queue.bindings]
    shown["catalog_error"], shown["growth_bytes_a_day"] = "", None
    shown["stations"], shown["errors"] = [], []
    if not databases:
        return
    timeout_s = min(_DATABASE_S, databases[0].timeout_s)
    try:
        with Catalog(replace(databases[0], timeout_s=timeout_s)) as catalog:
            shown["stations"] = fleet.stations(catalog, limits.station_silent_h)
            shown["errors"] = fleet.errors_of_last_day(catalog)
            shown["growth_bytes_a_day"] = round(fleet.growth(catalog))
    except CatalogError as error:
        shown["catalog_error"] = str(error)


def _add_disks(shown: dict[str, Any], limits: StatusSettings) -> None:
    """How long each disk lasts. Only the first one, the repository's, grows by what comes in."""
    for number, disk in enumerate(shown["disks"]):
        growth = (shown.get("growth_bytes_a_day") or 0.0) if number == 0 else 0.0
        days = disk["free_bytes"] / growth if growth > 0 else None
        share = disk["free_bytes"] / max(1, disk["size_bytes"])
        if share < limits.disk_free:
            state, reason = "full", f"only {share:.1%} are free"
        elif days is not None and days < limits.disk_days:
            state, reason = "filling", f"at the rate of the last week it is full in {days:.1f} days"
        else:
            state, reason = "fine", f"{share:.0%} are free"
        disk.update(growth_bytes_a_day=growth, days_left=days and round(days, 1))
        disk.update(state=state, reason=reason)


def _troubles(shown: dict[str, Any], limits: StatusSettings) -> list[str]:
    """What is not fine, in words, the worst first."""
    alike: dict[tuple[str, str], list[str]] = {}
    for each in shown["services"]:
        if each["state"] not in FINE:
            alike.setdefault((each["state"], each["reason"]), []).append(each["service"])
    troubles = [
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {state}: {reason}"
        for (state, reason), names in alike.items()
    ]
    if shown.get("stopping"):
        troubles.insert(0, "the daemon is stopping")
    if shown.get("reload_error"):
        troubles.append(f"the last reload was refused: {shown['reload_error']}")
    for queue in shown.get("queues", ()):
        if queue.get("dead", 0) > limits.dead_letters:
            troubles.append(f"{queue['service']} has {counted(queue['dead'], 'dead letter')}")
    if shown.get("catalog_error"):
        troubles.append(f"the catalog cannot be asked: {shown['catalog_error']}")
    troubles += [
        f"the disk of {each['folder']}: {each['reason']}"
        for each in shown["disks"]
        if each["state"] != "fine"
    ]
    return troubles
