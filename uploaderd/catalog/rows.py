"""Rows as they are inserted: the fields of each class are exactly the table's columns.

Times are aware `datetime`s in UTC or whole numbers as the name says. Unknown is an empty text, or
NaN for a measure; `EPOCH` stands for an unknown time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime

from uploaderd import clock

EPOCH = datetime.fromtimestamp(0, UTC)
STAGES = ("discovered", "fetched", "processed", "failed", "trashed")


_RANKS = {"discovered": 0, "failed": 0, "fetched": 1, "trashed": 2, "processed": 2}
TIME_BITS = (1 << 61) - 1
"""Of a file row's version, those with nanoseconds since 1970, which need no more until 2043."""


@dataclass(frozen=True)
class HostRow:
    """A station as it was last contacted; the newest `updated_at` counts."""

    host_id: int
    host_uid: str
    host_add: str = ""
    host_port: int = 22
    user: str = ""
    equipment_type: str = ""
    last_contact: datetime = EPOCH
    last_error: str = ""
    """Text of the last contact's failure; empty after a good one."""
    updated_at: datetime = field(default_factory=clock.now)


@dataclass(frozen=True)
class HostEventRow:
    """Something that happened with a station.

    `event` is one of request, check, host_check, backup_waiting, backup_started, backup_done,
    backup_failed, stopped. The `code` of a host_check is the station's state.
    """

    host_id: int
    event: str
    outcome: str = "ok"
    """`ok` or `error`."""
    code: str = ""
    text: str = ""
    files: int = 0
    bytes: int = 0
    duration_s: float = 0.0
    pending: int = -1
    """Files seen at the station and not brought yet; -1: not counted."""
    host_uid: str = ""
    message_id: str = ""
    at: datetime = field(default_factory=clock.now)


@dataclass(frozen=True)
class FileRow:
    """A station's file at one stage of its way; the highest `version` counts."""

    host_id: int
    file_id: str
    remote_path: str
    size: int
    mtime_ns: int
    stage: str
    host_uid: str = ""
    sha256: str = ""
    verified: str = ""
    format: str = ""
    path: str = ""
    """Below the repository's root: in `tmp/`, the final tree or `trash/`."""
    error_code: str = ""
    error_text: str = ""
    spectra: int = 0
    discovered_at: datetime = EPOCH
    fetched_at: datetime = EPOCH
    processed_at: datetime = EPOCH
    fetch_s: float = 0.0
    process_s: float = 0.0
    message_id: str = ""
    version: int = 0
    """The stage's rank first and the time second; 0 here means now.

    A file's way only goes forward: neither a clock that was set back nor the late row of an
    interrupted backup makes a settled file one that still waits.
    """

    def __post_init__(self) -> None:
        """Gives the version the rank of the stage, whatever row it was copied from."""
        time_ns = self.version & TIME_BITS or clock.nanoseconds()
        object.__setattr__(self, "version", _RANKS[self.stage] * (TIME_BITS + 1) + time_ns)


@dataclass(frozen=True, slots=True)
class SpectrumRow:
    """One flow of one file; the newest `ingested_at` counts. Levels are in `unit`."""

    spectrum_id: str
    file_id: str
    sha256: str
    host_id: int
    station: str
    flow: int
    freq_start: int
    """Hz, as is `freq_stop`."""
    freq_stop: int
    time_start: datetime
    time_stop: datetime
    traces: int
    points: int
    rbw: float = math.nan
    """Hz."""
    unit: str = ""
    detector: str = ""
    trace_type: str = ""
    antenna: str = ""
    procedure: str = ""
    description: str = ""
    format: str = ""
    site_id: str = ""
    latitude: float = math.nan
    longitude: float = math.nan
    altitude: float = math.nan
    """Metres above mean sea level."""
    revisit_s: float = math.nan
    """Mean time between two traces."""
    level_min: float = math.nan
    level_mean: float = math.nan
    """Mean of the values in `unit`."""
    level_max: float = math.nan
    level_p10: float = math.nan
    level_p50: float = math.nan
    level_p90: float = math.nan
    profile_mean: list[int] = field(default_factory=list)
    """Level over frequency in tenths of a dB, at most 1,024 bins, -32768 for none; and so on."""
    profile_max: list[int] = field(default_factory=list)
    profile_min: list[int] = field(default_factory=list)
    profile_p10: list[int] = field(default_factory=list)
    profile_p50: list[int] = field(default_factory=list)
    profile_p90: list[int] = field(default_factory=list)
    parser_version: int = 1
    ingested_at: datetime = field(default_factory=clock.now)


@dataclass(frozen=True)
class TrackRow:
    """Where a moving station was during one file; the newest `updated_at` counts."""

    host_id: int
    station: str
    file_id: str
    time_start: datetime
    time_stop: datetime
    latitude: float
    longitude: float
    altitude: float = math.nan
    spread_m: float = math.nan
    fixes: int = 1
    updated_at: datetime = field(default_factory=clock.now)


@dataclass(frozen=True)
class SiteRow:
    """A place at which a station stood; the highest `fixes` counts."""

    site_id: str
    latitude: float
    longitude: float
    altitude: float
    fixes: int
    name: str = ""
    state: str = ""
    county: str = ""
    district: str = ""
    source: str = "unknown"
    updated_at: datetime = field(default_factory=clock.now)
