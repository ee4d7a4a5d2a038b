"""Rows of many callers in one insert, which every one of them waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, fields
from types import TracebackType
from typing import TYPE_CHECKING

from uploaderd.catalog.client import Catalog
from uploaderd.errors import CatalogError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Rows = Sequence[DataclassInstance]


@dataclass(frozen=True)
class _Waiting:
    """What one caller waits for."""

    rows: Rows
    size: int
    """Bytes, about."""
    done: Future[None]
    since: float


class GroupCommit:
    """Gathers the rows of one table until there are enough or the first has waited long enough.

    Enough is `max_rows`, or about `max_bytes`; long enough is `max_delay_s`.

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
        max_bytes: int = 64 << 20,
        max_delay_s: float = 0.02,
        max_waiting_rows: int = 500_000,
    ) -> None:
        self._catalog = catalog
        self._table = table
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._max_delay_s = max_delay_s
        self._max_waiting_rows = max_waiting_rows
        self._waiting: list[_Waiting] = []
        self._count = 0
        self._size = 0
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
            size = _size(rows)
            self._waiting.append(_Waiting(rows, size, done, time.monotonic()))
            self._count += len(rows)
            self._size += size
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
            rows = [row for one in group for row in one.rows]
            try:
                self._catalog.insert(self._table, rows)
            except Exception as error:  # noqa: BLE001 - handed to every waiting caller
                for one in group:
                    one.done.set_exception(error)
            else:
                for one in group:
                    one.done.set_result(None)

    def _next_group(self) -> list[_Waiting]:
        """The next block's rows once they are due; an empty list at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._waiting)
            if not self._waiting:
                return []
            due = self._waiting[0].since + self._max_delay_s
            self._changed.wait_for(
                lambda: self._closing or self._is_full(self._count, self._size),
                timeout=max(0.0, due - time.monotonic()),
            )
            group: list[_Waiting] = []
            count = size = 0
            while self._waiting and not self._is_full(count, size):
                group.append(self._waiting.pop(0))
                count += len(group[-1].rows)
                size += group[-1].size
            self._count -= count
            self._size -= size
            self._changed.notify_all()
            return group

    def _is_full(self, count: int, size: int) -> bool:
        return count >= self._max_rows or size >= self._max_bytes


def _size(rows: Rows) -> int:
    """Bytes of the rows, about: rows that come together are alike, so the first stands for all."""
    values = [getattr(rows[0], field.name) for field in fields(rows[0])]
    return len(rows) * sum(
        8 + (len(value) if isinstance(value, str | bytes) else 0)
        + (2 * len(value) if isinstance(value, list) else 0)
        for value in values
    )  # fmt: skip
