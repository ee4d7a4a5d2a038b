"""A status in Prometheus' text exposition format."""

from __future__ import annotations

from typing import Any

_METRICS = (
    ("up", "gauge", "1 while the instance runs", lambda i: int(i["state"] == "running")),
    ("restarts_total", "counter", "Workers started anew", lambda i: i["restarts"]),
    ("messages_total", "counter", "Messages handled", lambda i: i["handled"]),
    ("messages_failed_total", "counter", "Messages whose handling failed", lambda i: i["failed"]),
    ("message_seconds_total", "counter", "Time spent on messages", lambda i: i["seconds"]),
    ("memory_bytes", "gauge", "Resident memory", lambda i: int(i["memory_mb"] * 2**20)),
    ("beat_age_seconds", "gauge", "Time since the work loop turned", lambda i: i["beat_age_s"]),
)


def render(status: dict[str, Any]) -> str:
    """The page that Prometheus reads; a metric's labels are service and instance."""
    lines = [
        "# HELP uploaderd_info Version of the daemon",
        "# TYPE uploaderd_info gauge",
        f'uploaderd_info{{version="{status["version"]}"}} 1',
        "# HELP uploaderd_health 0 all is well, 1 degraded, 2 down",
        "# TYPE uploaderd_health gauge",
        f"uploaderd_health {status['health']}",
        "# HELP uploaderd_start_time_seconds Start of the daemon",
        "# TYPE uploaderd_start_time_seconds gauge",
        f"uploaderd_start_time_seconds {status['started']}",
    ]
    for name, kind, text, value in _METRICS:
        lines += [f"# HELP uploaderd_{name} {text}", f"# TYPE uploaderd_{name} {kind}"]
        for instance in status["instances"]:
            number = value(instance)
            if number is not None:
                labels = f'service="{instance["service"]}",instance="{instance["instance"]}"'
                lines.append(f"uploaderd_{name}{{{labels}}} {number}")
    return "\n".join(lines) + "\n"
