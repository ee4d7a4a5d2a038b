"""A target whose ClickHouse we may write to: rows and receipts go there by the native protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from uploaderd import clock
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import DatabaseSettings
from uploaderd.errors import UploaderError
from uploaderd.exchange import load, receipts
from uploaderd.exchange.export import Manifest
from uploaderd.exchange.receipts import Receipt
from uploaderd.exchange.target import Finding, clock_step, room_step

_DISKS = "SELECT min(free_space) AS free FROM system.disks WHERE total_space > 0"
_PROBE = "uploaderd-check"


class ClickHouseTarget:
    """Another catalog, of the same release, with a database that we may insert into."""

    def __init__(self, settings: DatabaseSettings, sender: str) -> None:
        self._catalog = Catalog(settings)
        self._sender = sender

    def __enter__(self) -> ClickHouseTarget:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._catalog.close()

    def receipt(self) -> Receipt:
        """As the other catalog has it."""
        return receipts.last(self._catalog, self._sender)

    def highest(self) -> int:
        """An export that is there is confirmed, too."""
        return self.receipt().sequence

    def free_bytes(self) -> int | None:
        """Of the fullest of the server's disks."""
        rows = self._catalog.query(_DISKS)
        return int(rows[0]["free"]) or None

    def deliver(self, path: Path, manifest: Manifest, beat: Callable[[], None]) -> None:  # noqa: ARG002 - the file tells all
        """Loads it there, as the receiver would."""
        load.accept(self._catalog, path, beat)

    def check(self, floor_bytes: int) -> Iterator[Finding]:
        """With a receipt of a sender of its own, which is removed."""
        step = "connect"
        try:
            version = self._catalog.query("SELECT version() AS version")[0]["version"]
            yield Finding(step, True, f"ClickHouse {version} lets us in")
            step = "write"
            probe = f"{_PROBE} {self._sender}"
            self._catalog.insert("receipts", [Receipt(probe, 1)])
            same = receipts.last(self._catalog, probe).sequence == 1
            self._catalog.execute(
                f"ALTER TABLE receipts DELETE WHERE sender = '{probe}' SETTINGS mutations_sync = 1"
            )
            text = "a row was written, read back and removed" if same else "a row was lost"
            yield Finding(step, same, text)
            step = "clock"
            now = self._catalog.query("SELECT toUnixTimestamp(now()) AS now")[0]["now"]
            yield clock_step(now - clock.seconds())
            step = "room"
            yield room_step(self.free_bytes(), floor_bytes)
        except UploaderError as error:
            yield Finding(step, False, str(error))
