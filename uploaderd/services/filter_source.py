"""The files of a station without an agent: those that a filter finds by listing folders.

What is new is told by identity: a file is known if the catalog has settled this very version of it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import paramiko

from uploaderd.catalog import files
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.ids import file_id
from uploaderd.station.connection import Connection
from uploaderd.station.discovery import Discovery, Known, Place, Rules, find
from uploaderd.station.filters import Mode, parse
from uploaderd.station.paths import Refused, Sound

log = logging.getLogger(__name__)


class FilterSource:
    """What the filter finds; a station without an agent is told nothing."""

    lost = False
    """There is no flag to lose."""

    def __init__(
        self,
        sftp: paramiko.SFTPClient,
        fields: Mapping[str, Any],
        *,
        known: Known,
        rules: Rules,
        clock_ahead_s: float,
        beat: Callable[[], None],
    ) -> None:
        self._sftp = sftp
        self._fields = fields
        self._wanted = wanted = parse(fields)
        self._known = known
        # The newest N have to be chosen among all, even if a slice takes fewer.
        self._rules = replace(rules, limit=max(rules.limit, wanted.last_n_files or 0))
        self._clock_ahead_s = clock_ahead_s
        self._beat = beat
        self._due: dict[bytes, int] = {}
        self._passed = self._left_out = 0
        self._spent = 0

    @property
    def left(self) -> int:
        """How many files were found and not brought, those among them that may still be written."""
        return self._passed + len(self._due) + self._left_out

    def batches(self, size: int) -> Iterator[list[Sound | Refused]]:
        """The files to fetch, in the filter's order, up to `size` at a time; refusals first.

        What one discovery has no room for, the next one finds beyond it: files that are refused
        again and again do not stand in the way of the others.
        """
        result = self._discovery(None)
        while True:
            every: list[Sound | Refused] = [*result.refused, *result.found]
            self._passed += len(self._due)
            self._left_out = result.unfinished + result.postponed + result.unpaid
            self._due = {file.path: file.size for file in result.found}
            for start in range(0, len(every), size):
                yield every[start : start + size]
            if not result.more or result.unpaid or not result.found:
                return
            result = self._discovery(result.last)

    def _discovery(self, beyond: Place | None) -> Discovery:
        budget = self._wanted.max_total_bytes
        if budget is not None:
            budget = max(0, budget - self._spent)
        result = find(
            self._sftp,
            replace(self._wanted, max_total_bytes=budget),
            known=self._known,
            rules=self._rules,
            beyond=beyond,
            now_s=lambda: time.time() + self._clock_ahead_s,
            beat=self._beat,
        )
        log.info(
            "%d files listed: %d to fetch, %d still being written, %d beyond the budget",
            result.seen,
            len(result.found),
            result.unfinished,
            result.unpaid,
        )
        if beyond is not None:
            result.refused.clear()
        return result

    def settle(self, done: Sequence[bytes]) -> None:
        """Takes their sizes off the budget; the catalog knows what is done."""
        self._spent += sum(self._due.pop(path, 0) for path in done)

    def rest(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The message that brings what is left: only the unknown, for what the budget still pays.

        A rediscovery goes on as mode ALL, else its first files would come again and again.
        """
        fields = dict(self._fields)
        if self._wanted.mode is Mode.REDISCOVERY:
            fields["mode"] = Mode.ALL.value
        budget = self._wanted.max_total_bytes
        if budget is not None:
            fields["max_total_gb"] = max(1, budget - self._spent) / 1e9
        return {**body, "filter": fields}


@contextlib.contextmanager
def opened(
    connection: Connection,
    *,
    fields: Mapping[str, Any],
    known: Known,
    rules: Rules,
    clock_ahead_s: float,
    beat: Callable[[], None],
) -> Iterator[FilterSource]:
    """A source of what the filter's (sound) fields mean. `clock_ahead_s`: its clock less ours.

    Its use raises RemoteFileError if the filter's folder cannot be listed.
    """
    yield FilterSource(
        connection.sftp, fields, known=known, rules=rules, clock_ahead_s=clock_ahead_s, beat=beat
    )


def settled_versions(catalog: Catalog, host_id: int) -> Known:
    """Asks the catalog which of the given files need not come, by path, size and mtime.

    The answer raises CatalogError if the database cannot be reached.
    """

    def known(batch: Sequence[Sound]) -> Collection[bytes]:
        ids = {file_id(host_id, one.path, one.size, one.mtime_ns): one.path for one in batch}
        stages = files.known(catalog, host_id, ids)
        return {path for identity, path in ids.items() if stages.get(identity) in files.SETTLED}

    return known
