"""Generated rows of the catalog, with the distributions of a network of stations.

400 stations write a file each quarter of an hour with a flow for each of six bands, so spectra
come about as they do in service: all stations side by side, file by file. Clocks jitter, positions
scatter by metres, levels come in half decibels but for the mean.
"""

from __future__ import annotations

from uploaderd import clock
from uploaderd.catalog import Catalog
from uploaderd.catalog.rows import HostRow

STATIONS = 400
STEP = 2_000_000
_BLOCKS = (
    "SETTINGS max_partitions_per_insert_block = 0, max_insert_block_size = 1000000,"
    " min_insert_block_size_rows = 1000000"
)
_SPECTRA = """
INSERT INTO spectra (spectrum_id, file_id, sha256, host_id, station, flow, freq_start, freq_stop,
    time_start, time_stop, traces, points, rbw, unit, detector, trace_type, procedure, description,
    format, site_id, latitude, longitude, altitude, revisit_s,
    level_min, level_mean, level_max, level_p10, level_p50, level_p90, profile_p90, ingested_at)
WITH intDiv(number, 6) AS file, number % 6 AS band, file % 400 AS place,
    intDiv(file, 400) AS turn, lower(hex(SHA256(toString(file)))) AS content,
    cityHash64(file) AS chance, cityHash64(number, 1) AS dice,
    toDateTime64('2025-01-01 00:00:00', 3, 'UTC')
        + toIntervalMillisecond(turn * 900000 + chance % 20000) AS start
SELECT concat(substring(content, 1, 24), leftPad(toString(band), 8, '0')),
    concat(lower(hex(toUInt32(toUnixTimestamp(start)))),
        lower(substring(hex(MD5(toString(file))), 1, 24))),
    content, 10000 + place, concat('rfeye', leftPad(toString(2000 + place), 6, '0')), band,
    [54, 88, 108, 174, 470, 1710][band + 1] * 1000000,
    [88, 108, 137, 216, 698, 1880][band + 1] * 1000000,
    start + toIntervalMillisecond(dice % 400),
    start + toIntervalMillisecond(880000 + dice % 9000), 880 + dice % 9,
    [1024, 1024, 512, 1024, 4096, 2048][band + 1],
    [33203, 19531, 56640, 41015, 55664, 83007][band + 1], 'dBm', if(band = 2, 'peak', 'rms'),
    'average', 'monitoring', concat('PMEC band ', toString(band)), 'crfs_bin',
    concat('s', toString(place)), -33 + place % 37 + (chance % 40) / 1e6,
    -70 + place % 33 + (chance % 37) / 1e6, 100 + place + (chance % 50) / 10,
    900 / (880 + dice % 9), -127.5 + dice % 8 / 2, -104 + (dice % 4001) / 1000,
    -50 + dice % 80 / 2, -118 + dice % 6 / 2, -106 + dice % 10 / 2, -90 + dice % 20 / 2,
    {profile}, start + toIntervalMillisecond(930000 + chance % 60000)
FROM numbers({first}, {count}) {blocks}
"""
_PROFILE = "arrayMap(i -> toInt16(-1000 + cityHash64(i, number) % 200), range(64))"
_LEVELS = {"min": -1200, "p10": -1150, "mean": -1080, "p50": -1100, "p90": -1000, "max": -900}
_FILES = """
INSERT INTO files (host_id, file_id, remote_path, size, mtime_ns, stage, host_uid, sha256, verified,
    format, path, fetched_at, processed_at, version)
WITH number % {hosts} + {host} AS host, intDiv(number, {hosts}) AS turn,
    1600000000 + turn * 120 + cityHash64(number) % 60 AS at
SELECT host, concat(lower(hex(toUInt32(at))), lower(substring(hex(MD5(toString(number))), 1, 24))),
    concat('/mnt/internal/data/rfeye_', toString(at), '.bin'), 1000000 + cityHash64(number) % 90000,
    toInt64(at) * 1000000000, '{stage}', concat('rfeye', toString(host)),
    lower(hex(SHA256(toString(number)))), 'sha256-remote', 'crfs_bin',
    concat('2026/ba/site/rfeye_', toString(at), '.bin'), toDateTime64(at + 60, 3),
    if('{stage}' = 'processed', toDateTime64(at + 90, 3), toDateTime64(0, 3)),
    bitShiftLeft(toUInt64({rank}), 61) + toUInt64(at) * 1000000000
FROM numbers({first}, {count}) {blocks}
"""
_LEDGER = """
INSERT INTO files (host_id, file_id, remote_path, size, mtime_ns, stage, host_uid, sha256, verified,
    format, path, error_code, error_text, spectra, fetched_at, processed_at, version)
WITH number AS file, file % 400 AS place, intDiv(file, 400) AS turn, cityHash64(file) AS chance,
    chance % 200 = 0 AS bad, chance % 500 = 1 AND file > 40000 AS again,
    toDateTime64('2025-01-01 00:00:00', 3, 'UTC')
        + toIntervalMillisecond(turn * 900000 + chance % 20000) AS start,
    toUInt32(toUnixTimestamp(start)) AS at
SELECT 10000 + place,
    concat(lower(hex(at)), lower(substring(hex(MD5(toString(file))), 1, 24))),
    concat('/mnt/internal/data/rfeye_', toString(at), '.bin'), 1000000 + chance % 90000,
    toInt64(at) * 1000000000, if(bad, 'trashed', 'processed'),
    concat('rfeye', leftPad(toString(2000 + place), 6, '0')),
    lower(hex(SHA256(toString(if(again, file - 40000, file))))), 'sha256-remote',
    if(bad, '', 'crfs_bin'),
    concat(if(bad, 'trash', '2025/ba/site'), '/rfeye_', toString(at), '.bin'),
    multiIf(bad, ['truncated', 'bad_header', 'no_spectra'][1 + chance % 3], chance % 100 = 3,
        'bad_block', ''),
    if(bad, 'The file ends too early.', ''), if(bad, 0, 6),
    start + toIntervalSecond(920), start + toIntervalMillisecond(930000 + chance % 60000),
    bitShiftLeft(toUInt64(2), 61) + toUInt64(at + 960) * 1000000000
FROM numbers({first}, {count}) {blocks}
"""
_EVENTS = """
INSERT INTO host_events (host_id, event, outcome, code, text, files, duration_s, host_uid,
    message_id, at)
WITH intDiv(number, 400) AS turn, number % 400 AS place, cityHash64(number, 2) AS chance,
    chance % 50 = 0 AS bad, turn % 5 = 4 AS backup
SELECT 10000 + place,
    multiIf(not backup, 'host_check', bad, 'backup_waiting', 'backup_done'),
    if(bad, 'error', 'ok'),
    if(bad, ['unreachable', 'timeout', 'authentication', 'catalog'][1 + chance % 4], ''),
    if(bad, 'The station does not answer.', ''), if(backup, 4, 0), chance % 100 / 10,
    concat('rfeye', leftPad(toString(2000 + place), 6, '0')), hex(chance),
    toDateTime64('2025-01-01 00:00:00', 3, 'UTC')
        + toIntervalMillisecond(turn * 720000 + chance % 20000)
FROM numbers({first}, {count}) {blocks}
"""
_YEAR = """
INSERT INTO host_events (host_id, event, outcome, code, text, pending, host_uid, message_id, at)
WITH cityHash64(number, 2) AS chance, chance % 50 = 0 AS bad, number % 5 = 4 AS backup
SELECT {host}, multiIf(not backup, 'host_check', bad, 'backup_waiting', 'backup_done'),
    if(bad, 'error', 'ok'),
    if(bad, ['unreachable', 'timeout', 'authentication', 'catalog'][1 + chance % 4], ''),
    if(bad, 'The station does not answer.', ''), if(backup, chance % 3, -1), 'rfeye{host}',
    hex(chance), now64(3) - toIntervalSecond(720 * number)
FROM numbers(44000) {blocks}
"""


def spectra(catalog: Catalog, rows: int, *, first: int = 0, profiles: bool = False) -> None:
    """Adds the spectra `first` to `first + rows`."""
    for start in range(first, first + rows, STEP):
        count = min(STEP, first + rows - start)
        profile = _PROFILE if profiles else "[]"
        catalog.execute(_SPECTRA.format(first=start, count=count, profile=profile, blocks=_BLOCKS))


def profiles(catalog: Catalog, station: str, until: str) -> None:
    """Gives the spectra of a station before a day level profiles, as newer rows: the old ones have
    to be folded away."""
    levels = ", ".join(
        f"arrayMap(i -> toInt16({level} + cityHash64(i) % 200 + cityHash64(i, spectrum_id) % 30),"
        f" range(1024)) AS profile_{name}"
        for name, level in _LEVELS.items()
    )
    catalog.execute(
        f"INSERT INTO spectra SELECT * REPLACE ({levels}, ingested_at + 1 AS ingested_at) FROM"
        f" (SELECT * FROM spectra WHERE station = '{station}' AND time_start < '{until}')"
    )


def ledger(catalog: Catalog, files: int, *, first: int = 0) -> None:
    """Adds the files `first` to `files` whose spectra `spectra` makes, and as many events and a
    quarter: of the files one in 200 is trashed and one in 500 has the content of an older one."""
    for start in range(first, files, STEP):
        count = min(STEP, files - start)
        catalog.execute(_LEDGER.format(first=start, count=count, blocks=_BLOCKS))
        events = {"first": start * 5 // 4, "count": (start + count) * 5 // 4 - start * 5 // 4}
        catalog.execute(_EVENTS.format(**events, blocks=_BLOCKS))


def files(
    catalog: Catalog,
    rows: int,
    *,
    host: int,
    hosts: int = 1,
    first: int = 0,
    stage: str = "processed",
) -> None:
    """Adds rows of files, `hosts` stations side by side from the number `host` on."""
    rank = 2 if stage == "processed" else 1
    for start in range(first, first + rows, STEP):
        count = min(STEP, first + rows - start)
        catalog.execute(
            _FILES.format(
                host=host, hosts=hosts, first=start, count=count, stage=stage, rank=rank,
                blocks=_BLOCKS,
            )
        )  # fmt: skip


def year_of_events(catalog: Catalog, host: int) -> None:
    """Adds a station that is looked at every 12 minutes, and backed up each hour, for a year."""
    catalog.insert("hosts", [HostRow(host, f"rfeye{host}", "192.0.2.7", last_contact=clock.now())])
    catalog.execute(_YEAR.format(host=host, blocks=_BLOCKS))
