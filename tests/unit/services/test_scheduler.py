from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from uploaderd.errors import ConfigError
from uploaderd.services.scheduler import schedules

HOURLY: dict[str, Any] = {"name": "hourly", "cron": "7 * * * *", "message": "publish"}


def behaviour(**changes: object) -> dict[str, Any]:
    return {"timezone": "UTC", "schedules": [{**HOURLY, **changes}]}


def test_what_was_missed_is_one_firing() -> None:
    (hourly,) = schedules(behaviour())
    last = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    assert hourly.due(last, last + timedelta(minutes=10)) is None
    due = hourly.due(last, last + timedelta(days=3))
    assert due == datetime(2026, 1, 1, 1, 7, tzinfo=UTC)
    assert hourly.due(last + timedelta(days=3), last + timedelta(days=3, minutes=1)) is None


def test_the_time_zone_is_that_of_the_settings() -> None:
    at_noon = behaviour(cron="0 12 * * *") | {"timezone": "America/Sao_Paulo"}
    (daily,) = schedules(at_noon)
    last = datetime(2026, 1, 1, tzinfo=UTC)
    assert daily.due(last, last + timedelta(days=1)) == datetime(2026, 1, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (behaviour(cron="every day at noon"), "no cron expression"),
        (behaviour(cron="0 0 30 2 *"), "no cron expression"),
        (behaviour() | {"timezone": "Mars/Olympus"}, "no time zone"),
        (behaviour(body={"mode": "sometimes"}), "body of the schedule hourly"),
        (behaviour(message="host-request"), "body of the schedule hourly"),
        ({"timezone": "UTC", "schedules": [HOURLY, HOURLY]}, "Two schedules"),
    ],
)
def test_a_wrong_schedule_is_refused_at_the_start(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        schedules(wrong)


def test_a_schedule_for_each_host_needs_no_host_in_its_body() -> None:
    (each,) = schedules(behaviour(message="host-request", body={}, for_each_host=True))
    assert each.for_each_host
