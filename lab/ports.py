"""Free TCP ports for private servers."""

from __future__ import annotations

import contextlib
import random
import socket

PORTS = range(10_000, 30_000)
"""Below those that the kernel gives to outgoing connections (Linux: from 32768 on), one of which
could take the port of a server while that is away to be started again."""


def free_ports(count: int) -> list[int]:
    """Distinct ports of 127.0.0.1 that nobody listens on at this moment."""
    with contextlib.ExitStack() as bound:
        found: list[int] = []
        while len(found) < count:
            one = bound.enter_context(socket.socket())
            port = random.choice(PORTS)
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
        return found
