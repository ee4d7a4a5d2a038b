"""The demo's three stations: real files if there are any, else generated ones."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import recordings, sshd
from lab.station import Station, lay_out

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "crfs_bin"
STATIONS = ((2292, "rfeye002292"), (2239, "rfeye002239"), (2218, "rfeye002218"))
AGENT_CONFIG = "etc/node/indexerD.cfg"
"""Relative to the folder in which an SFTP session at the demo's stations begins."""


@dataclass
class Stage:
    """One station: its disk, its agent, its SSH server."""

    host_id: int
    uid: str
    station: Station
    server: sshd.Sshd

    @property
    def port(self) -> int:
        """The SSH server's port on loopback."""
        return self.server.port

    @property
    def user(self) -> str:
        """Who logs in."""
        return self.server.user

    @property
    def pid(self) -> int:
        """The process to end when the station is no longer wanted."""
        return self.server.process.pid

    def due(self) -> int:
        """How many lines the station's index has now."""
        index = self.station.index
        return index.read_bytes().count(b"\n") if index.exists() else 0

    def stop(self) -> None:
        """Ends the SSH server."""
        self.server.stop()


def set_up(folder: Path, files: Path | None) -> list[Stage]:
    """Lays the stations out, lets their agents index, and starts their servers.

    What an earlier run left is used again: its agents find nothing new.
    """
    stages: list[Stage] = []
    sources = _sources(folder, files)
    try:
        for number, (host_id, uid) in enumerate(STATIONS):
            disk = folder / "stations" / uid
            station = lay_out(disk)
            for source in sources[number :: len(STATIONS)]:
                _receive(station, source)
            station.run_agent().check_returncode()
            stages.append(Stage(host_id, uid, station, _serve(folder, disk, uid)))
    except BaseException:
        for stage in stages:
            stage.stop()
        raise
    return stages


def _serve(folder: Path, disk: Path, uid: str) -> sshd.Sshd:
    # A session begins on the station's own disk, so that the agent's configuration is found by the
    # same relative path at each of them.
    return sshd.start(folder / "sshd" / uid, key_file=folder / "client_key", home=disk)


def _receive(station: Station, source: Path) -> None:
    """The station measures: a file appears on its disk, once."""
    place = station.data / "CRFS" / source.name
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)


def _sources(folder: Path, files: Path | None) -> Sequence[Path]:
    given = files or (SAMPLES if SAMPLES.is_dir() else None)
    if given is not None:
        return sorted(path for path in given.rglob("*") if path.is_file())
    made = folder / "generated"
    if not (made / "complete").exists():
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for number in range(9):
            recordings.write_crfs(made / f"rfeye000001_260101_T{number:02d}0000.bin", number)
        (made / "rfeye000001_broken.bin").write_bytes(b"this was never a measurement file\n")
        (made / "complete").touch()
    return sorted(path for path in made.iterdir() if path.suffix == ".bin")
