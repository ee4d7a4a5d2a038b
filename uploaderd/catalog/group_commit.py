"""Rows of many callers in one insert, which every one of them waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from uploaderd.errors import CatalogError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Rows = Sequence[DataclassInstance]


@dataclass(eq=False)
class _Waiting:
    """What one caller waits for."""

    rows: Rows
    size: int
    """Bytes, about."""
    since: float = field(default_factory=time.monotonic)
    over: bool = False
    error: Exception | None = None


class GroupCommit:
    """Gathers rows while a block is written; the next block has all that came meanwhile.

    There is no thread: of the callers that wait, one writes for all. A block has at most `max_rows`
    or about `max_bytes`, but for a caller that brings more at once. A caller that finds nobody
    writing waits `max_delay_s` for others. At the door callers wait while `max_waiting_rows` are
    gathered: that is the back-pressure.

    While a block is written, one more caller may call `write` if `ahead` rows have come: of so many
    it takes long to make a block, which needs no server.
    """

    def __init__(
        self,
        write: Callable[[Rows], None],
        *,
        max_rows: int = 50_000,
        max_bytes: int = 64 << 20,
        max_delay_s: float = 0.0,
        max_waiting_rows: int = 500_000,
        ahead: int = 10_000,
    ) -> None:
        """`write` writes a block, and is called by two callers at a time at most."""
        self._write = write
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._max_delay_s = max_delay_s
        self._max_waiting_rows = max_waiting_rows
        self._ahead = ahead
        self._waiting: list[_Waiting] = []
        self._gathering = False
        self._writing = 0
        self._changed = threading.Condition()

    def insert(self, rows: Rows) -> None:
        """Waits until these rows are written; raises what the writing of their block raised."""
        if not rows:
            return
        mine = _Waiting(rows, _size(rows))
        with self._changed:
            self._changed.wait_for(lambda: self._count() < self._max_waiting_rows)
            self._waiting.append(mine)
            self._changed.notify_all()
        while group := self._next_group(mine):
            self._commit(group)
        if mine.error:
            raise mine.error

    def _next_group(self, mine: _Waiting) -> list[_Waiting]:
        """The next block if the caller is to write it; an empty list once its own rows are in."""
        with self._changed:
            self._changed.wait_for(lambda: mine.over or self._may_write())
            if mine.over:
                return []
            self._gathering = True
            due = self._waiting[0].since + self._max_delay_s
            self._changed.wait_for(
                lambda: self._is_full(self._waiting), timeout=max(0.0, due - time.monotonic())
            )
            group: list[_Waiting] = []
            while self._waiting and not self._is_full(group):
                group.append(self._waiting.pop(0))
            self._gathering = False
            self._writing += 1
            self._changed.notify_all()
            return group

    def _commit(self, group: list[_Waiting]) -> None:
        error: Exception | None = CatalogError("The insert was interrupted.")
        try:
            self._write([row for one in group for row in one.rows])
            error = None
        except Exception as raised:  # noqa: BLE001 - raised in each caller whose rows it had
            error = raised
        finally:
            with self._changed:
                for one in group:
                    one.over, one.error = True, error
                self._writing -= 1
                self._changed.notify_all()

    def _may_write(self) -> bool:
        if self._gathering or self._writing > 1:
            return False
        return not self._writing or self._count() >= self._ahead

    def _count(self) -> int:
        return sum(len(one.rows) for one in self._waiting)

    def _is_full(self, group: list[_Waiting]) -> bool:
        return (
            sum(len(one.rows) for one in group) >= self._max_rows
            or sum(one.size for one in group) >= self._max_bytes
        )


def _size(rows: Rows) -> int:
    """Bytes of the rows, about: rows that come together are alike, so the first stands for all."""
    values = [getattr(rows[0], field.name) for field in fields(rows[0])]
    return len(rows) * sum(
        8 + (len(value) if isinstance(value, str | bytes) else 0)
        + (2 * len(value) if isinstance(value, list) else 0)
        for value in values
    )  # fmt: skip
