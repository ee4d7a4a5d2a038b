"""What is wrong and lasts: told once, and once more when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from uploaderd.config.settings import StatusSettings
from uploaderd.observe.states import FINE, counted
from uploaderd.observe.status import Status

Tell = Callable[[str, str, str, str], None]
"""Takes severity, type, subject and message."""

_TOLD_ELSEWHERE = frozenset({"failed", "stopping", "stopped"})
"""A crash loop is told at once by its instance; a stop is somebody's wish."""


class Troubles:
    """Compares each status with what was told before.

    A problem is what a subject and a type name; what lasts shorter than `trouble_s` is none.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._since: dict[tuple[str, str], float] = {}
        self._told: set[tuple[str, str]] = set()

    def look(self, status: Status, limits: StatusSettings) -> None:
        """Tells of what is new and of what is over."""
        present = dict(_present(status, limits))
        for problem, (severity, message) in present.items():
            since = self._since.setdefault(problem, status.time)
            if problem not in self._told and status.time - since >= limits.trouble_s:
                self._told.add(problem)
                self._tell(severity, *problem, message)
        for problem in [*self._since.keys() - present.keys()]:
            del self._since[problem]
            if problem in self._told:
                self._told.remove(problem)
                self._tell("info", *problem, "it is over")


def _present(
    status: Status, limits: StatusSettings
) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    for service in status.services:
        name, state = service["service"], service["state"]
        if state not in FINE | _TOLD_ELSEWHERE:
            message = f"{name} is {state}: {service['reason']}; next: {service['next']}"
            yield ("service_state", f"{name} does not work well"), ("error", message)
        queue: dict[str, Any] = service["queue"] or {}
        if queue.get("dead", 0) > limits.dead_letters:
            message = (
                f"{counted(queue['dead'], 'dead letter')}: uploaderctl dead list --service {name}"
            )
            yield ("dead_letters", f"{name} has dead letters"), ("error", message)
    for disk in status.disks:
        share = disk["free_bytes"] / max(1, disk["size_bytes"])
        if share < limits.disk_free:
            message = f"{disk['free_bytes'] / 2**20:.0f} MiB ({share:.1%}) are free. Make room."
            yield ("disk", f"the disk of {disk['folder']} is full"), ("critical", message)
    if status.reload_error:
        message = f"everything goes on as before: {status.reload_error}"
        yield ("reload", "the configuration was refused"), ("error", message)
