"""systemd's notification protocol, sd_notify(3), in the few lines that it takes."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(*assignments: str) -> None:
    """Sends `READY=1`, `STATUS=…` and so on; without systemd nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)
        # A system manager that does not listen must not hold up the work.
        with contextlib.suppress(OSError):
            sender.sendto("\n".join(assignments).encode(), address)


def watchdog_s() -> float | None:
    """How often systemd wants to hear `WATCHDOG=1`: twice in each of its intervals."""
    interval = os.environ.get("WATCHDOG_USEC")
    return int(interval) / 2_000_000 if interval else None
