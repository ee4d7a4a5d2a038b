"""What every kind of target offers to the sender."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from uploaderd.exchange.export import Manifest
from uploaderd.exchange.receipts import Receipt

CLOCK_LIMIT_S = 60.0


@dataclass(frozen=True)
class Finding:
    """One step of a check."""

    step: str
    ok: bool
    text: str


def clock_step(ahead_s: float) -> Finding:
    """The step `clock` of a check: how far the target's clock is ahead of ours."""
    text = f"its clock is {abs(ahead_s):.0f} s {'ahead' if ahead_s > 0 else 'behind'}"
    return Finding("clock", abs(ahead_s) <= CLOCK_LIMIT_S, text)


def room_step(free_bytes: int | None, floor_bytes: int) -> Finding:
    """The step `room` of a check: below the floor, nothing would be sent."""
    if free_bytes is None:
        return Finding("room", True, "it does not tell how much room it has")
    text = f"{free_bytes / 1e6:.0f} MB are free"
    if free_bytes < floor_bytes:
        need = f"{floor_bytes / 1e6:.0f} MB are to stay free (`free_space_floor_mb`)"
        return Finding("room", False, f"only {text}, and {need}")
    return Finding("room", True, text)


class Target(Protocol):
    """Another server that keeps a copy of the catalog; a context manager that closes it."""

    def __enter__(self) -> Target: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def receipt(self) -> Receipt:
        """What it has confirmed last.

        Raises:
            UploaderError: it cannot be reached, or says what makes no sense.
        """

    def highest(self) -> int:
        """The highest sequence of ours that it has seen, confirmed or not."""

    def free_bytes(self) -> int | None:
        """Room on its disk; None if it does not tell."""

    def deliver(self, path: Path, manifest: Manifest, beat: Callable[[], None]) -> None:
        """Brings an export there; it may be there already, or in part.

        Raises:
            UploaderError: it cannot be, now or ever; what is there goes on from where it is.
        """

    def check(self, floor_bytes: int) -> Iterator[Finding]:
        """Connects, logs in, writes, reads back, removes, compares clocks, asks for room.

        Each step rests on the one before it; the first that fails may be the last.
        """
