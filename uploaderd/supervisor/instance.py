"""The life of one instance: a worker that is kept alive, and why it is as it is.

starting → running → stopping → stopped
    ↑          ↓ dies
    └── waiting ──→ failed        a crash loop; only a reload starts it again
"""

from __future__ import annotations

import logging
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from uploaderd import crash_points
from uploaderd.config.settings import SupervisionSettings
from uploaderd.observe.counters import added, series
from uploaderd.supervisor.child import Child
from uploaderd.supervisor.plan import Job

log = logging.getLogger(__name__)

_STACKS_S = 1.0
"""Time that a hung worker gets to write where its threads stand."""
_KILL_GRACE_S = 5.0


class Instance:
    """One numbered worker of a service; `tick` and the two `on_` methods move it on."""

    def __init__(
        self,
        job: Job,
        number: int,
        supervision: SupervisionSettings,
        tell: Callable[[str, str, str, str], None],
    ) -> None:
        """`tell(severity, type, subject, message)` is for what an operator should know."""
        self.job = job
        self.number = number
        self.supervision = supervision
        self.child: Child | None = None
        self.state = "stopped"
        self.reason = "not started yet"
        self.since = time.time()
        self.restarts = 0
        self.gauges: dict[str, float] = {}
        """Values of the moment, as the worker told them."""
        self._tell = tell
        self._past: dict[str, float] = {}
        self._current: dict[str, float] = {}
        self._deaths: deque[float] = deque()
        self._delay_s = 0.0
        self._wanted = True
        self._troubled = False
        self._due = 0.0
        self._started = 0.0
        self._beat = 0.0

    @property
    def name(self) -> str:
        """`backup[1]`, as in the process's title."""
        return f"{self.job.settings.name}[{self.number}]"

    @property
    def over(self) -> bool:
        """True when nothing runs and nothing is to come."""
        return self.child is None and self.state in ("stopped", "failed")

    @property
    def counts(self) -> dict[str, float]:
        """What all its workers have counted, series by series."""
        return added(self._past, self._current)

    def start(self) -> None:
        """Starts a worker."""
        now = time.monotonic()
        self._started = self._beat = now
        crash_points.reached("worker-started:before")
        try:
            self.child = Child(self.job, self.number)
        except OSError as error:
            self._died(f"could not be started: {error}")
            return
        crash_points.reached("worker-started:after")
        self._become("starting", f"process {self.child.pid} was started")

    def stop(self, reason: str, *, for_good: bool = True) -> None:
        """Lets the worker finish what it has in hand; `for_good`, or to start another one."""
        self._wanted = not for_good and self._wanted
        if self.child is None:
            if self.state != "failed":
                self._become("stopped", reason)
        elif self.state != "stopping":
            self._become("stopping", reason)
            self._due = time.monotonic() + self.supervision.stop_timeout_s + _KILL_GRACE_S
            self.child.ask_to_stop()

    def on_report(self, line: dict[str, Any]) -> None:
        """A line of the worker's: it lives."""
        self._beat = time.monotonic()
        if line["tell"] == "beat":
            self._current = line.get("counts", self._current)
            self.gauges = line.get("gauges", self.gauges)
        if self.state in ("starting", "hung"):
            self._become("running", "the work loop turns")
            if self._troubled:
                self._troubled = False
                self._tell("info", "crash_loop", f"{self.name} has failed", "it runs again")

    def on_death(self) -> None:
        """The worker has ended, asked or not."""
        assert self.child is not None
        crash_points.reached("worker-buried:before")
        status = self.child.bury()
        crash_points.reached("worker-buried:after")
        self.child = None
        self._past, self._current, self.gauges = self.counts, {}, {}
        if self.state == "stopping" and not self._wanted:
            self._become("stopped", self.reason)
        elif self.state == "stopping":
            self.restarts += 1
            self.start()
        else:
            self._died(_end(status))

    def tick(self) -> None:
        """Does what is due."""
        now = time.monotonic()
        if self.state == "waiting" and now >= self._due:
            self.restarts += 1
            self.start()
        elif self.child is not None and self.state == "stopping":
            if now >= self._due:
                log.warning("%s did not stop in time and is killed", self.name)
                self.child.kill()
                self._due = now + _KILL_GRACE_S
        elif self.child is not None:
            self._check(self.child, now)

    def describe(self) -> dict[str, Any]:
        """The instance as `status.json` shows it; times are Unix seconds."""
        counts = self.counts
        done, failed = (
            counts.get(series("message_seconds_count", outcome=outcome), 0)
            for outcome in ("done", "failed")
        )
        return {
            "service": self.job.settings.name,
            "instance": self.number,
            "state": self.state,
            "reason": self.reason,
            "since": self.since,
            "next": time.time() + self._due - time.monotonic() if self.state == "waiting" else None,
            "pid": self.child.pid if self.child else None,
            "restarts": self.restarts,
            "memory_mb": round(self.child.memory_mb(), 1) if self.child else 0.0,
            "beat_age_s": round(time.monotonic() - self._beat, 1) if self.child else None,
            "handled": int(done + failed),
            "failed": int(failed),
            "in_flight": int(self.gauges.get("messages_in_flight", 0)),
        }

    def _check(self, child: Child, now: float) -> None:
        limits = self.job.settings.limits
        if now - self._beat > limits.watchdog_s + _STACKS_S:
            child.kill()
            self._beat = now
        elif now - self._beat > limits.watchdog_s:
            if self.state != "hung":
                self._become("hung", f"no progress for {limits.watchdog_s:g} s; it is replaced")
                child.dump_stacks()
        elif limits.age_s is not None and now - self._started > limits.age_s:
            self.stop("it reached its age limit and is replaced", for_good=False)
        elif limits.memory_mb is not None and child.memory_mb() > limits.memory_mb:
            self.stop("it reached its memory limit and is replaced", for_good=False)

    def _died(self, how: str) -> None:
        now = time.monotonic()
        if self.state == "hung":
            how = self.reason
        window = self.supervision.crash_window_s
        self._deaths.append(now)
        while self._deaths[0] < now - window:
            self._deaths.popleft()
        if len(self._deaths) == 1:
            self._delay_s = self.supervision.restart_delay_s
        if not self._wanted:
            self._become("stopped", how)
        elif len(self._deaths) >= self.supervision.crash_limit:
            self._become(
                "failed", f"{len(self._deaths)} deaths within {window:g} s; the last: {how}"
            )
            self._troubled = True
            self._tell("critical", "crash_loop", f"{self.name} has failed", self.reason)
        else:
            self._become("waiting", how)
            self._due = now + self._delay_s
            self._delay_s = min(2 * self._delay_s, self.supervision.restart_delay_max_s)
            self._tell("warning", "instance_died", f"{self.name} died", how)

    def _become(self, state: str, reason: str) -> None:
        bad = state in ("waiting", "failed", "hung")
        log.log(logging.WARNING if bad else logging.INFO, "%s is %s: %s", self.name, state, reason)
        self.state, self.reason, self.since = state, reason, time.time()


def _end(status: int) -> str:
    if status >= 0:
        return f"it ended by itself with status {status}"
    try:
        return f"it was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"it was ended by signal {-status}"
