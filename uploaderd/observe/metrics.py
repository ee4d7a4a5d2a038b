"""What is measured, and the page on which Prometheus reads it (text exposition format 0.0.4).

Names follow Prometheus' conventions: base units (seconds, bytes), `_total` for what only grows.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

PREFIX = "uploaderd_"

METRICS: Mapping[str, tuple[str, str]] = {
    "info": ("gauge", "1; the label names the version of the daemon"),
    "health": ("gauge", "0 all is well, 1 degraded, 2 down"),
    "start_time_seconds": ("gauge", "Start of the daemon, Unix time"),
    "up": ("gauge", "1 while the instance runs"),
    "restarts_total": ("counter", "Workers of the instance started anew"),
    "memory_bytes": ("gauge", "Resident memory of the instance"),
    "beat_age_seconds": ("gauge", "Time since the instance's work loop turned"),
    "message_seconds": ("histogram", "Time that a handler took for a message, by its outcome"),
    "retries_total": ("counter", "Messages put off for another attempt, by error code"),
    "dead_letters_total": ("counter", "Messages that became dead letters, by error code"),
    "messages_in_flight": ("gauge", "Messages that the instance has taken and not acknowledged"),
    "files_fetched_total": ("counter", "Files brought home from stations"),
    "bytes_fetched_total": ("counter", "Bytes brought home from stations"),
    "files_refused_total": ("counter", "Files of stations that could not be had, by error code"),
    "files_processed_total": ("counter", "Files read, by outcome: processed or trashed"),
    "spectra_total": ("counter", "Spectra catalogued"),
    "queue_ready_messages": ("gauge", "Messages that wait in the service's queue"),
    "queue_retrying_messages": ("gauge", "Messages that wait for another attempt"),
    "queue_dead_messages": ("gauge", "Dead letters of the service"),
    "queue_consumers": ("gauge", "Consumers of the service's queue, on all machines"),
    "queue_oldest_seconds": ("gauge", "Age of the oldest message that is not settled yet"),
    "queue_up": ("gauge", "1 if the broker tells of the service's queue"),
    "disk_free_bytes": ("gauge", "Room left on the disk of a folder"),
    "disk_size_bytes": ("gauge", "Size of the disk of a folder"),
    "mails_sent_total": ("counter", "Mails that the mail server has taken"),
    "mails_refused_total": ("counter", "Attempts to send a mail that failed"),
    "mail_events_waiting": ("gauge", "Events that wait for a mail"),
}
"""Type and help of each metric, by its name without prefix."""


def render(samples: Mapping[str, float]) -> str:
    """The page: `samples` maps series (observe/counters.py), without prefix, to their values."""
    by_metric: dict[str, list[str]] = defaultdict(list)
    for key, value in samples.items():
        by_metric[_metric(key)].append(f"{PREFIX}{key} {_number(value)}\n")
    return "".join(
        f"# HELP {PREFIX}{name} {text}\n# TYPE {PREFIX}{name} {kind}\n" + "".join(by_metric[name])
        for name, (kind, text) in METRICS.items()
        if name in by_metric
    )


def _metric(key: str) -> str:
    """The metric that a series belongs to: a histogram's series have a suffix."""
    name = key.partition("{")[0]
    for suffix in ("_bucket", "_sum", "_count"):
        whole = name.removesuffix(suffix)
        if whole != name and whole in METRICS:
            return whole
    return name


def _number(value: float) -> str:
    """As Prometheus reads it, with all digits that the value has."""
    if math.isfinite(value) and value == int(value) and abs(value) < 1 << 53:
        return str(int(value))
    return repr(float(value)).replace("inf", "Inf").replace("nan", "NaN")
