"""In which state a service is, why, and what happens next: from what is known of its parts.

The worst that is true is told. `FINE` states ask nothing of an operator.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from uploaderd.config.settings import StatusSettings

FINE = frozenset({"running", "idle", "retrying", "starting"})
_ATTACH_S = 10.0
"""An instance that has run for so long takes messages, or may not."""


@dataclass(frozen=True)
class State:
    """A state with its reason and what happens next, in words."""

    name: str
    reason: str
    next: str


@dataclass(frozen=True)
class Activity:
    """What a service did lately."""

    rate: float = 0.0
    """Messages a second, over the last minute."""
    mean_s: float | None = None
    """Mean time that a message took, over the last ten minutes; None: there was none."""
    quiet_s: float = 0.0
    """Time since the last message was handled, or since the daemon has started."""
    in_flight: int = 0
    oldest_s: float | None = None
    """Age of the oldest message that is not settled; None: there is none, or nobody knows."""


def service_state(
    instances: Sequence[dict[str, Any]],
    queue: dict[str, Any] | None,
    activity: Activity,
    limits: StatusSettings,
) -> State:
    """The state of a service. `queue` is None for one that takes no messages."""
    return (
        _of_instances(instances)
        or (queue and _of_queue(queue, instances))
        or _of_work(queue, activity, limits)
    )


_NEXT = {
    "failed": "nothing, until a reload (SIGHUP) or a restart",
    "frozen": "after limits.watchdog_s it counts as hung",
    "hung": "its stacks go to the log, it is killed and replaced",
    "waiting": "it is started again after a pause",
    "stopped": "nothing, until the daemon is started",
    "stopping": "it ends when the work in hand is finished",
    "starting": "it runs when its work loop turns",
}
"""States of instances, worst first, and what comes after them."""


def _of_instances(instances: Sequence[dict[str, Any]]) -> State | None:
    """What is to be said of instances that do not run."""
    for name, following in _NEXT.items():
        concerned = [each for each in instances if each["state"] == name]
        if concerned:
            of_many = f"{len(concerned)} of {len(instances)}: " if len(instances) > 1 else ""
            return State(name, of_many + concerned[0]["reason"], following)
    return None


def _of_queue(queue: dict[str, Any], instances: Sequence[dict[str, Any]]) -> State | None:
    following = "its instances try to connect again"
    if queue["error"]:
        return State("disconnected", queue["error"], following)
    settled = [each for each in instances if time.time() - each["since"] > _ATTACH_S]
    if settled and not queue["consumers"]:
        reason = "nobody takes messages from its queue: `uploaderctl doctor` and the log say why"
        return State("disconnected", reason, following)
    return None


def _of_work(queue: dict[str, Any] | None, activity: Activity, limits: StatusSettings) -> State:
    if activity.oldest_s is not None and activity.oldest_s > limits.lag_s:
        reason = f"the oldest message is {duration(activity.oldest_s)} old"
        return State("lagging", reason, _outlook(queue, activity))
    if activity.mean_s is not None and activity.mean_s > limits.slow_s:
        reason = f"a message takes {duration(activity.mean_s)} on the mean"
        return State("slow", reason, _outlook(queue, activity))
    if queue and queue["retrying"]:
        reason = f"{counted(queue['retrying'], 'message')} in a pause before another attempt"
        return State("retrying", reason, "each is tried again when its pause is over")
    if not activity.in_flight and activity.quiet_s > limits.idle_s:
        reason = f"nothing to do for {duration(activity.quiet_s)}"
        return State("idle", reason, "it waits for a message" if queue else "it waits for its time")
    return State("running", "the work loop turns", "it goes on")


def _outlook(queue: dict[str, Any] | None, activity: Activity) -> str:
    waiting = queue["ready"] if queue else 0
    if waiting and activity.rate > 0:
        return f"at the present rate the queue is empty in {duration(waiting / activity.rate)}"
    return "the work in hand goes on"


def counted(number: int, what: str) -> str:
    """`1 message`, `2 messages`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def duration(seconds: float) -> str:
    """`3 d`, `5 h`, `7 min` or `9 s`."""
    whole = int(max(0.0, seconds))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= length:
            return f"{whole // length} {unit}"
    return f"{whole} s"
