"""Rows of many callers in one insert, which every one of them waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING

from uploaderd.catalog.client import Catalog
from uploaderd.errors import CatalogError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Waiting = tuple[Sequence[DataclassInstance], Future[None], float]


class GroupCommit:
    """Gathers the rows of one table until there are enough or the first has waited long enough.

    `insert` returns when the block with the caller's rows is in, and raises the block's error
    otherwise, in each caller. One thread writes; while it does, the next block gathers. Callers
    wait at the door while `max_waiting_rows` are gathered: that is the back-pressure.
    """

    def __init__(
        self,
        catalog: Catalog,
        table: str,
        *,
        max_rows: int = 50_000,
        max_delay_s: float = 0.02,
        max_waiting_rows: int = 500_000,
    ) -> None:
        self._catalog = catalog
        self._table = table
        self._max_rows = max_rows
        self._max_delay_s = max_delay_s
        self._max_waiting_rows = max_waiting_rows
        self._waiting: list[Waiting] = []
        self._count = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write, name=f"write {table}", daemon=True)
        self._thread.start()

    def insert(self, rows: Sequence[DataclassInstance]) -> None:
        """Waits until the server has these rows; raises `CatalogError` if it has not."""
        if not rows:
            return
        done: Future[None] = Future()
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._count < self._max_waiting_rows)
            if self._closing:
                raise CatalogError(f"The writer of {self._table} is closed.")
            self._waiting.append((rows, done, time.monotonic()))
            self._count += len(rows)
            self._changed.notify_all()
        done.result()

    def close(self) -> None:
        """Writes what is gathered and ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> GroupCommit:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self) -> None:
        while group := self._next_group():
            rows = [row for some, _, _ in group for row in some]
            try:
                self._catalog.insert(self._table, rows)
            except Exception as error:  # noqa: BLE001 - handed to every waiting caller
                for _, done, _ in group:
                    done.set_exception(error)
            else:
                for _, done, _ in group:
                    done.set_result(None)

    def _next_group(self) -> list[Waiting]:
        """The next block's rows once they are due; an empty list at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._waiting)
            if not self._waiting:
                return []
            due = self._waiting[0][2] + self._max_delay_s
            self._changed.wait_for(
                lambda: self._closing or self._count >= self._max_rows,
                timeout=max(0.0, due - time.monotonic()),
            )
            group: list[Waiting] = []
            total = 0
            while self._waiting and (not group or total < self._max_rows):
                group.append(self._waiting.pop(0))
                total += len(group[-1][0])
            self._count -= total
            self._changed.notify_all()
            return group
