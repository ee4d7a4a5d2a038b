"""The files of a station with an agent: those that its index names, while its flag is held."""

from __future__ import annotations

import contextlib
import logging
import posixpath
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import paramiko

from uploaderd import crash_points
from uploaderd.errors import StationFull
from uploaderd.services.holding import kept_fresh
from uploaderd.station import disk, index, paths
from uploaderd.station.agent import AgentConfig, read_config
from uploaderd.station.connection import Connection
from uploaderd.station.halt import HaltFlag, Patience
from uploaderd.station.paths import Refused, Sound

log = logging.getLogger(__name__)

LOOK_AHEAD = 20_000
"""Lines of the index among which the oldest files come first; beyond, in the index's order."""
LEAST_ROOM = 64 << 10
"""Bytes; with less, a plain failure at the station is taken for its full disk."""


@dataclass(frozen=True)
class Choice:
    """Which of the files that the index names come first, and which are left for next time."""

    newest_first: bool = False
    min_age_s: float = 0.0
    """A younger file may still be written: its line stays in the index."""


class IndexSource:
    """What the index names, and what has become of it; made by `opened`."""

    def __init__(
        self,
        sftp: paramiko.SFTPClient,
        agent: AgentConfig,
        lost: threading.Event,
        *,
        choice: Choice,
        clock_ahead_s: float,
        beat: Callable[[], None],
    ) -> None:
        self._sftp = sftp
        self._agent = agent
        self._lost = lost
        self._choice = choice
        self._clock_ahead_s = clock_ahead_s
        self._beat = beat
        self.settled: set[bytes] = set()
        """Paths whose lines may leave the index."""
        self.left = 0

    @property
    def lost(self) -> bool:
        """Whether the halt flag could not be renewed: stop soon."""
        return self._lost.is_set()

    def batches(self, size: int) -> Iterator[list[Sound | Refused]]:
        """What the index names, up to `size` at a time, each looked at on the station.

        The oldest come first (or the newest, as chosen): by the times that the second index tells,
        else by those that the station shows. What cannot be had comes before.
        """
        lines = index.entries(self._sftp, self._agent)
        while ahead := list(islice(lines, LOOK_AHEAD)):
            refused: list[Sound | Refused] = [
                Refused(line.text, "damaged_line", line.reason)
                for line in ahead
                if isinstance(line, index.DamagedLine)
            ]
            due: dict[bytes, Sound | int] = {}
            untimed = []
            for line in ahead:
                if isinstance(line, index.IndexEntry):
                    if line.mtime_ns is None:
                        untimed.append(line.path)
                    else:
                        due[line.path] = line.mtime_ns
            for found in self._screened(path for path in untimed if path not in due):
                if isinstance(found, Refused):
                    refused.append(found)
                else:
                    due[found.path] = found
            for start in range(0, len(refused), size):
                yield refused[start : start + size]
            yield from self._in_order(due, size)

    def _in_order(
        self, due: Mapping[bytes, Sound | int], size: int
    ) -> Iterator[list[Sound | Refused]]:
        """Batches by mtime; what is only known by its time is looked at when its turn comes."""

        def mtime_ns(path: bytes) -> tuple[int, bytes]:
            known = due[path]
            return (known if isinstance(known, int) else known.mtime_ns, path)

        latest_ns = (time.time() + self._clock_ahead_s - self._choice.min_age_s) * 1e9
        order = sorted(due, key=mtime_ns, reverse=self._choice.newest_first)
        left = 0
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            unseen = (path for path in batch if isinstance(due[path], int))
            seen = {found.path: found for found in self._screened(unseen)}
            every = [seen.get(path) or due[path] for path in batch]
            chosen = [
                one
                for one in every
                if isinstance(one, Refused)
                or (isinstance(one, Sound) and self._is_finished(one, latest_ns))
            ]
            left += len(batch) - len(chosen)
            yield chosen
        if left:
            log.info("%d files may still be written, and are left for next time", left)

    def _is_finished(self, file: Sound, latest_ns: float) -> bool:
        return not self._choice.min_age_s or file.mtime_ns <= latest_ns

    def _screened(self, named: Iterable[bytes]) -> Iterator[Sound | Refused]:
        for number, found in enumerate(paths.screen(self._sftp, self._agent, named)):
            if number % 100 == 0:
                self._beat()
            yield found

    def settle(self, done: Sequence[bytes]) -> None:
        """Puts the paths into the station's list of done backups; their lines may leave then."""
        if done:
            crash_points.reached("done-list:before")
            index.append_done(self._sftp, self._agent, done)
            crash_points.reached("done-list:after")
        self.settled.update(done)

    def rest(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The message that brings what is left: the same, for the index has become shorter."""
        return dict(body)


@contextlib.contextmanager
def _fullness_told(connection: Connection, folder: bytes) -> Iterator[None]:
    """SFTP version 3 has no word for a full disk: a plain failure is looked into."""
    try:
        yield
    except OSError as error:
        room = disk.space(connection, folder) if error.errno is None else None
        if room is None or room[0] >= LEAST_ROOM:
            raise
        raise StationFull(
            f"The disk of {connection.access.address} is full: {room[0]} bytes are free there.",
            hint="Make room at the station. Its files and its index are as they were; "
            "the backup is tried again.",
        ) from error


@contextlib.contextmanager
def opened(
    connection: Connection,
    *,
    config_path: str,
    patience: Patience,
    choice: Choice,
    wait: Callable[[float], object],
    beat: Callable[[], None],
) -> Iterator[IndexSource]:
    """Takes the station's flag, with `wait` between the tries.

    On a sound end what is settled leaves the index.

    Raises:
        AgentMissing: the station has no agent configuration.
        StationHalted: somebody else holds the station.
        StationFull: nothing can be written there.
    """
    sftp = connection.sftp
    agent = read_config(sftp, config_path)
    # A session of its own: the flag is renewed by a thread, and a session serves one at a time.
    with (
        _fullness_told(connection, posixpath.dirname(agent.index)),
        contextlib.closing(connection.link.sftp_client()) as own,
    ):
        flag = HaltFlag(own, agent, patience=patience, wait=wait)
        crash_points.reached("halt-flag:before")
        with flag, kept_fresh(flag) as lost:
            crash_points.reached("halt-flag:after")
            if flag.inherited:
                index.sweep(sftp, agent)
            source = IndexSource(
                sftp, agent, lost, choice=choice, clock_ahead_s=flag.clock_ahead_s, beat=beat
            )
            yield source
            flag.confirm()
            _, source.left = index.remove(sftp, agent, source.settled)
            crash_points.reached("halt-flag-lowered:before")
        crash_points.reached("halt-flag-lowered:after")
