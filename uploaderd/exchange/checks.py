"""What the last check of a target found: a file beside its exports, for monitoring."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uploaderd import clock
from uploaderd.repository.placement import make_folder, unwritable, write_text

if TYPE_CHECKING:
    from uploaderd.exchange.target import Finding


def last(outbox: Path, target: str) -> dict[str, Any]:
    """`state` (good, bad), `text`, `since` and `at` (Unix seconds) and `steps`; empty: no check."""
    try:
        found: dict[str, Any] = json.loads(_place(outbox, target).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def record(outbox: Path, target: str, state: str, text: str, findings: Sequence[Finding]) -> str:
    """Writes what a check found; gives the state before, or empty text.

    Raises:
        RepositoryError: the outbox cannot be written.
    """
    before, now = last(outbox, target), clock.seconds()
    since = before.get("since", now) if before.get("state") == state else now
    steps = [vars(one) for one in findings]
    values = {"state": state, "text": text, "since": since, "at": now, "steps": steps}
    try:
        make_folder(outbox)
    except OSError as error:
        raise unwritable(outbox, error) from error
    write_text(_place(outbox, target), json.dumps(values, indent=1) + "\n")
    return str(before.get("state", ""))


def _place(outbox: Path, target: str) -> Path:
    return outbox / f"{target}.state.json"
