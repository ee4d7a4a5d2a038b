"""A service's state follows from its instances, its queue and what it did lately."""

from __future__ import annotations

import math
from typing import Any

import pytest

from uploaderd.config.settings import StatusSettings
from uploaderd.observe.states import Activity, duration, service_state

LIMITS = StatusSettings(idle_s=60, lag_s=100, slow_s=10)
RUNS = {"state": "running", "reason": "the work loop turns", "since": 0.0}


def queue(**changes: Any) -> dict[str, Any]:
    return {"error": "", "ready": 0, "retrying": 0, "dead": 0, "consumers": 1, **changes}


@pytest.mark.parametrize(
    ("state", "instances", "seen", "activity"),
    [
        ("running", [RUNS], queue(), Activity(quiet_s=5)),
        ("running", [RUNS], queue(), Activity(quiet_s=500, in_flight=1)),
        ("idle", [RUNS], queue(), Activity(quiet_s=500)),
        ("idle", [RUNS], None, Activity(quiet_s=500)),
        ("lagging", [RUNS], queue(ready=9, retrying=2), Activity(oldest_s=101, mean_s=50)),
        ("slow", [RUNS], queue(retrying=2), Activity(mean_s=11)),
        ("retrying", [RUNS], queue(retrying=2), Activity(quiet_s=500)),
        ("disconnected", [RUNS], queue(error="no broker"), Activity(oldest_s=500)),
        ("disconnected", [RUNS], queue(consumers=0), Activity(quiet_s=500)),
        # An instance that has just begun, whenever this test runs.
        ("running", [{**RUNS, "since": math.inf}], queue(consumers=0), Activity()),
        ("waiting", [RUNS, {"state": "waiting", "reason": "it died"}], queue(), Activity()),
        (
            "failed",
            [{"state": "waiting", "reason": "w"}, {"state": "failed", "reason": "f"}],
            None,
            Activity(),
        ),
        ("hung", [{"state": "hung", "reason": "h"}, RUNS], queue(error="away"), Activity()),
        ("stopping", [{"state": "stopping", "reason": "s"}], None, Activity()),
    ],
)
def test_the_worst_that_is_true_is_told(
    state: str,
    instances: list[dict[str, Any]],
    seen: dict[str, Any] | None,
    activity: Activity,
) -> None:
    found = service_state(instances, seen, activity, LIMITS)
    assert found.name == state
    assert found.reason
    assert found.next


def test_reason_and_outlook_are_in_words() -> None:
    activity = Activity(rate=2.0, oldest_s=7200)
    found = service_state([RUNS], queue(ready=1200), activity, LIMITS)
    assert found.reason == "the oldest message is 2 h old"
    assert found.next == "at the present rate the queue is empty in 10 min"
    one_of_two = service_state(
        [RUNS, {"state": "failed", "reason": "5 deaths"}], None, activity, LIMITS
    )
    assert one_of_two.reason == "1 of 2: 5 deaths"
    assert [duration(s) for s in (3, 61, 7201, 200_000)] == ["3 s", "1 min", "2 h", "2 d"]
