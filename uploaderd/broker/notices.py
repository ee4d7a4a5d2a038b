"""Events for whoever listens: `notify.<severity>.<service>`, with the fields that all have."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from uploaderd import messages
from uploaderd.broker.job import Outgoing

FIELDS = ("subject", "severity", "type", "message", "timestamp", "payload")
"""What every event has; `timestamp` in Unix seconds, `payload` an object with the particulars."""


def event(
    severity: str, kind: str, subject: str, message: str, payload: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The body of an event; what looks like a secret is masked."""
    values = (subject, severity, kind, message, time.time(), dict(payload or {}))
    body: dict[str, Any] = messages.redact(dict(zip(FIELDS, values, strict=True)))
    return body


def notice(service: str, body: Mapping[str, Any], about: str = "") -> Outgoing:
    """The publication of an event; it is no error if nobody listens.

    `about` is the id of the message that it is about: its repetition has the same id.
    """
    seed = f"{about or time.time_ns()}|{body['type']}|{body['subject']}".encode()
    return Outgoing(
        routing_key=f"notify.{body['severity']}.{service}",
        body=messages.encode(body),
        message_id=hashlib.sha256(seed).hexdigest()[:32],
        correlation_id=about,
        mandatory=False,
    )
