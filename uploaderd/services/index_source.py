"""The files of a station with an agent: those that its index names, while its flag is held."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import paramiko

from uploaderd import crash_points
from uploaderd.services.holding import kept_fresh
from uploaderd.station import index, paths
from uploaderd.station.agent import AgentConfig, read_config
from uploaderd.station.connection import Connection
from uploaderd.station.halt import HaltFlag, Patience
from uploaderd.station.paths import Refused, Sound


class IndexSource:
    """What the index names, and what has become of it; made by `opened`."""

    more = False
    """The whole index is read, however long it is."""

    def __init__(
        self, sftp: paramiko.SFTPClient, agent: AgentConfig, lost: threading.Event
    ) -> None:
        self._sftp = sftp
        self._agent = agent
        self._lost = lost
        self.settled: set[bytes] = set()
        """Paths whose lines may leave the index."""

    @property
    def lost(self) -> bool:
        """Whether the halt flag could not be renewed: stop soon."""
        return self._lost.is_set()

    def batches(self, size: int) -> Iterator[list[Sound | Refused]]:
        """The index's lines in order, up to `size` at a time, each looked at on the station."""
        lines = index.entries(self._sftp, self._agent)
        while batch := list(islice(lines, size)):
            named = [line.path for line in batch if isinstance(line, index.IndexEntry)]
            damaged: list[Sound | Refused] = [
                Refused(line.text, "damaged_line", line.reason)
                for line in batch
                if isinstance(line, index.DamagedLine)
            ]
            yield damaged + list(paths.screen(self._sftp, self._agent, named))

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
def opened(
    connection: Connection,
    *,
    config_path: str,
    patience: Patience,
    wait: Callable[[float], object],
) -> Iterator[IndexSource]:
    """Takes the station's flag, with `wait` between the tries.

    On a sound end what is settled leaves the index.

    Raises:
        AgentMissing: the station has no agent configuration.
        StationHalted: somebody else holds the station.
    """
    sftp = connection.sftp
    agent = read_config(sftp, config_path)
    flag = HaltFlag(sftp, agent, patience=patience, wait=wait)
    crash_points.reached("halt-flag:before")
    with flag, kept_fresh(flag) as lost:
        crash_points.reached("halt-flag:after")
        source = IndexSource(sftp, agent, lost)
        yield source
        flag.confirm()
        index.remove(sftp, agent, source.settled)
        crash_points.reached("halt-flag-lowered:before")
    crash_points.reached("halt-flag-lowered:after")
