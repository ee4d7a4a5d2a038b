"""The places at which a test may end or freeze a process: before and after every durable step.

A durable step is what a crash must not leave half done without anybody noticing: bytes brought to
a disk, a name given, rows inserted, messages confirmed, the station told. Each calls `reached`
with its name and `:before` or `:after`. In production that is the call of an empty function; a
test names a hook in the environment, which takes its place when a process starts.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable

HOOK = "UPLOADERD_CRASH_HOOK"
"""Environment variable: `module:function`, which gives what `reached` is to be."""

STEPS = {
    "flight-note": "any service: the message is noted as at work",
    "outcome-sent": "any service: what the handler published is handed to the connection",
    "outcome-confirmed": "any service: the broker has confirmed it, the acknowledgement is due",
    "acknowledgement": "any service: the message is acknowledged",
    "host-row": "host-request, backup: the station's address",
    "event-row": "host-request, backup: what happened with the station",
    "halt-flag": "backup: the station's flag is raised",
    "bytes-synced": "backup: the bytes of a fetched file are on the disk",
    "file-named": "backup: the fetched file has its name in tmp/",
    "folder-synced": "backup: that name is on the disk",
    "fetched-rows": "backup: the files' rows say that they are fetched",
    "process-messages": "backup: the broker has confirmed their process messages",
    "done-list": "backup: the station's list of done backups names them",
    "index-rewritten": "backup: their lines have left the station's index",
    "halt-flag-lowered": "backup: the station is free again",
    "final-name": "process: the file has its name in the final tree or in the trash",
    "trash-reason": "process: the reason lies beside the file in the trash",
    "site-row": "process: the site, or its moved mean",
    "spectra-rows": "process: what was measured",
    "settled-row": "process: the file's row says that it is processed or trashed",
    "tmp-released": "process: the name in tmp/ is gone",
    "manifest": "publish: the new version is whole",
    "current-version": "publish: readers see the new version",
    "export-written": "send: an export is whole in the outbox",
    "export-sent": "send: the export has its name at the target",
    "export-loaded": "receive: the export's rows are in the catalog",
    "receipt-row": "receive: the catalog says that it has them",
    "receipt-told": "receive: the sender can read so",
    "export-kept": "receive: the export has left the inbox",
    "worker-started": "supervisor: a worker runs",
    "worker-buried": "supervisor: a dead worker is reaped",
    "status-written": "supervisor: status.json",
    "block-inserted": "embedded database: a client's rows are in the table, the answer is not sent",
}
POINTS = tuple(f"{step}:{when}" for step in STEPS for when in ("before", "after"))


def _nothing(_point: str) -> None:
    return None


reached: Callable[[str], None] = _nothing
"""To be called as `crash_points.reached(…)`, so that a hook is found."""


def install_hook() -> None:
    """Puts the hook into place that the environment names; with none named, does nothing."""
    global reached  # noqa: PLW0603 - this is the switch
    name = os.environ.get(HOOK)
    if name:
        module, _, function = name.partition(":")
        reached = getattr(importlib.import_module(module), function)()
