"""What the daemon shows of itself: instances, services, queues and disks as one `Status`."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from uploaderd import __version__
from uploaderd.config.settings import DaemonSettings
from uploaderd.observe.counters import labelled, series
from uploaderd.observe.states import Activity, State, service_state
from uploaderd.observe.status import Status, health
from uploaderd.supervisor.instance import Instance
from uploaderd.supervisor.watch import Queue, QueueWatch

_MINUTE_S = 60.0
_MEMORY_S = 600.0
_SHOWN = ("files_", "bytes_", "spectra_", "retries_", "dead_letters_")
"""Beginnings of the counts that `status.json` shows; `/metrics` has all of them."""


class Board:
    """Remembers what a rate, a mean and a `since` need; `status` is asked every few seconds."""

    def __init__(self, watch: QueueWatch) -> None:
        self._watch = watch
        self._started = time.time()
        self._past: dict[str, deque[tuple[float, float, float]]] = {}
        self._busy: dict[str, float] = {}
        self._since: dict[str, tuple[str, float]] = {}

    def status(
        self,
        daemon: DaemonSettings,
        instances: Sequence[Instance],
        *,
        stopping: bool,
        reload_error: str,
        http_port: int | None,
        more: dict[str, float],
    ) -> Status:
        """The present state; `more` are samples of whoever else counts."""
        now = time.time()
        described = tuple(each.describe() for each in instances)
        names = dict.fromkeys(each["service"] for each in described)
        services = tuple(
            self._service(
                daemon, name, [d for d in described if d["service"] == name], instances, now
            )
            for name in names
        )
        disks = tuple(_disks(daemon))
        status = Status(
            version=__version__,
            pid=os.getpid(),
            started=self._started,
            time=now,
            stopping=stopping,
            reload_error=reload_error,
            http_port=http_port,
            instances=described,
            services=services,
            disks=disks,
            samples={},
        )
        samples = {
            series("info", version=__version__): 1.0,
            "health": health(dataclasses.asdict(status)),
            "start_time_seconds": self._started,
            **more,
        }
        for instance in instances:
            samples.update(_of_instance(instance))
        for service in services:
            samples.update(_of_queue(service))
        for disk in disks:
            for key in ("free", "size"):
                samples[series(f"disk_{key}_bytes", folder=disk["folder"])] = disk[f"{key}_bytes"]
        return dataclasses.replace(status, samples=samples)

    def _service(
        self,
        daemon: DaemonSettings,
        name: str,
        described: Sequence[dict[str, Any]],
        instances: Sequence[Instance],
        now: float,
    ) -> dict[str, Any]:
        own = [each for each in instances if each.job.settings.name == name]
        seen = self._watch.seen.get(name)
        activity = self._activity(name, own, seen, now)
        queue = None if seen is None else dataclasses.asdict(seen)
        state = service_state(described, queue, activity, daemon.status)
        return {
            "service": name,
            "state": state.name,
            "reason": state.reason,
            "since": self._held_since(name, state, now),
            "next": state.next,
            "activity": dataclasses.asdict(activity),
            "counts": _shown(own),
            "queue": queue,
        }

    def _held_since(self, name: str, state: State, now: float) -> float:
        before, since = self._since.get(name, ("", now))
        if before != state.name:
            since = now
        self._since[name] = (state.name, since)
        return since

    def _activity(
        self, name: str, instances: Sequence[Instance], queue: Queue | None, now: float
    ) -> Activity:
        counted = [each.counts for each in instances]
        handled = sum(_total(counts, "message_seconds_count") for counts in counted)
        seconds = sum(_total(counts, "message_seconds_sum") for counts in counted)
        past = self._past.setdefault(name, deque())
        if past and handled != past[-1][1]:
            self._busy[name] = now
        past.append((now, handled, seconds))
        while past[0][0] < now - _MEMORY_S:
            past.popleft()
        minute = next(each for each in past if each[0] >= now - _MINUTE_S)
        took = handled - past[0][1]
        queued = [at for each in instances if (at := each.gauges.get("oldest_queued_at"))]
        if queue is not None and queue.deserted_since is not None:
            queued.append(queue.deserted_since)
        return Activity(
            rate=round(max(0.0, handled - minute[1]) / max(1.0, now - minute[0]), 3),
            mean_s=round((seconds - past[0][2]) / took, 3) if took > 0 else None,
            quiet_s=round(now - self._busy.get(name, self._started), 1),
            in_flight=sum(int(each.gauges.get("messages_in_flight", 0)) for each in instances),
            oldest_s=round(max(0.0, now - min(queued)), 1) if queued else None,
        )


def _total(counts: dict[str, float], name: str) -> float:
    return sum(value for key, value in counts.items() if key.partition("{")[0] == name)


def _shown(instances: Iterable[Instance]) -> dict[str, float]:
    shown: dict[str, float] = {}
    for instance in instances:
        for key, value in instance.counts.items():
            if key.startswith(_SHOWN):
                shown[key] = shown.get(key, 0) + value
    return shown


def _disks(daemon: DaemonSettings) -> Iterable[dict[str, Any]]:
    for folder in dict.fromkeys((daemon.repository, daemon.run_dir)):
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue  # A folder that is not there is the doctor's to tell of.
        yield {"folder": str(folder), "free_bytes": usage.free, "size_bytes": usage.total}


def _of_instance(instance: Instance) -> dict[str, float]:
    """The samples of one instance, those that its workers counted among them."""
    shown = instance.describe()
    own: dict[str, float | None] = {
        "up": int(shown["state"] == "running"),
        "restarts_total": shown["restarts"],
        "memory_bytes": shown["memory_mb"] * 2**20,
        "beat_age_seconds": shown["beat_age_s"],
        "messages_in_flight": instance.gauges.get("messages_in_flight"),
        **instance.counts,
    }
    labels = {"service": shown["service"], "instance": str(shown["instance"])}
    return {labelled(key, **labels): value for key, value in own.items() if value is not None}


def _of_queue(service: dict[str, Any]) -> dict[str, float]:
    queue = service["queue"]
    if queue is None:
        return {}
    labels = {"service": service["service"], "queue": queue["queue"]}
    samples = {"queue_up": 0 if queue["error"] else 1}
    if not queue["error"]:
        for key in ("ready", "retrying", "dead"):
            samples[f"queue_{key}_messages"] = queue[key]
        samples["queue_consumers"] = queue["consumers"]
        samples["queue_oldest_seconds"] = service["activity"]["oldest_s"] or 0
    return {series(key, **labels): value for key, value in samples.items()}
