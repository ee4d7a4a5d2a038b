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

    def check(self) -> Iterator[Finding]:
        """Connects, logs in, writes, reads back, removes, compares clocks, asks for room."""
