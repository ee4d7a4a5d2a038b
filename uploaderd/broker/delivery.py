"""One delivery of a message over one connection."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from uploaderd.broker.retry import Received
from uploaderd.broker.session import Session


@dataclass(slots=True)
class Delivery:
    """A message that waits for a worker, or is at work, and is not acknowledged yet."""

    session: Session
    tag: int
    redelivered: bool
    properties: Any
    body: bytes
    rescued: bool = False
    """True if its outcome could not be published, and was turned into a retry."""

    def lost(self) -> bool:
        """True if its connection is gone: it cannot be acknowledged, and will come again."""
        return not self.session.alive

    def received(self) -> Received:
        """What is needed to publish it once more."""
        properties = self.properties
        message_id = properties.message_id
        if not message_id:
            # Whoever gave none gets one that is the same at the next delivery.
            message_id = hashlib.sha256(self.body).hexdigest()[:32]
        return Received(
            body=self.body,
            message_id=message_id,
            correlation_id=properties.correlation_id or "",
            reply_to=properties.reply_to or "",
            headers=properties.headers or {},
            content_type=properties.content_type or "application/json",
        )
