"""What the daemon asks of a service: one class with two methods, built from its settings.

A service is registered by name through the entry point group `uploaderd.services`; the broker
runtime calls `handle` for every message, from as many threads as the service has workers.
"""

from __future__ import annotations

from typing import Protocol

from uploaderd.broker.job import Job


class Service(Protocol):
    """What is done with the messages of one queue."""

    def handle(self, job: Job) -> None:
        """Does what the message asks; returning means that every effect of it is durable.

        Raises:
            UploaderError: the error's disposition decides what becomes of the message.
        """

    def close(self) -> None:
        """Lets go of connections; called once, after the last message."""
