from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uploaderd import formats
from uploaderd.formats.model import NO_TIME
from uploaderd.formats.writers import crfs_bin as writer

T0 = 1_700_000_000_123_456_789
FLOWS = [
    writer.FlowPlan(10, "FM", 87_500_000, 108_000_000, rbw_hz=18_457),
    writer.FlowPlan(20, "UHF", 470_000_000, 698_000_000, unit="dBuV/m", antenna=2),
]
POSITION = (-12.971594, -38.481505, 143.75)


def levels_of(points: int, seed: int, low: float = -120, high: float = -20) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.rint(random.uniform(low, high, points) * 2) / 2


def valid_file(path: Path, traces: int = 12, points: int = 64) -> Path:
    rows = [
        (flow, T0 + i * 1_000_000_007 + flow, levels_of(points + 5 * flow, i))
        for i in range(traces)
        for flow in range(len(FLOWS))
    ]
    writer.write(path, FLOWS, rows, hostname="rfeye009999", method="Duty", position=POSITION)
    return path


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return valid_file(tmp_path_factory.mktemp("crfs") / "valid.bin").read_bytes()


@pytest.mark.parametrize("block_type", [4, 7, 8, 60, 61, 62, 63, 64, 65, 67, 68, 69])
def test_every_block_type_comes_back_as_it_was_written(tmp_path: Path, block_type: int) -> None:
    occupancy = block_type in {8, 62, 65, 69}
    compressed = block_type in {7, 61, 64, 68}
    flow = writer.FlowPlan(
        7, "task", 88_000_000, 108_000_000, block_type, processing="average", antenna=1
    )
    rows = [levels_of(700, i, *((0, 100) if occupancy else (-130, -20))) for i in range(5)]
    times = [T0 + i * 1_000_000_000 for i in range(5)]
    path = tmp_path / "file.bin"
    writer.write(
        path, [flow], zip([0] * 5, times, rows, strict=True), hostname="rfeye009999", version=22
    )
    recording = formats.read(path, statistics=True)
    blocks = list(formats.traces(path))
    expected = np.array(rows)
    if compressed:
        expected = np.where(expected < flow.threshold, flow.threshold - 1, expected)
    assert recording.outcome == "ok", recording.issues
    (spectrum,) = recording.spectra
    assert (spectrum.points, spectrum.n_traces) == (700, 5)
    assert (spectrum.start_hz, spectrum.stop_hz) == (88_000_000, 108_000_000)
    assert spectrum.description == "task"
    assert spectrum.antenna == 1
    assert spectrum.processing == ("occupancy" if occupancy else "average")
    assert spectrum.unit == ("%" if occupancy else "dBm")
    assert spectrum.threshold == (-90 if occupancy or compressed else None)
    assert np.array_equal(np.concatenate([b.levels for b in blocks]), expected)
    found = np.concatenate([b.times for b in blocks]).tolist()
    if block_type in {4, 7}:
        assert found == [NO_TIME] * 5
        assert spectrum.first_ts is None
    else:
        resolution = 1_000_000_000 if block_type == 8 else 1
        assert found == [t - t % resolution for t in times]
        assert spectrum.last_ts == found[-1]
    assert spectrum.statistics is not None
    assert spectrum.statistics.count == 5 * 700
    assert spectrum.statistics.max == expected.max()
    assert np.isclose(spectrum.statistics.mean, expected.mean())


def test_station_script_names_and_position_are_found(tmp_path: Path) -> None:
    recording = formats.read(valid_file(tmp_path / "file.bin"))
    assert (recording.receiver, recording.method) == ("rfeye009999", "Duty")
    assert recording.format_version == "V023"
    assert recording.gps is not None
    assert (recording.gps.lat, recording.gps.lon, recording.gps.alt_m) == POSITION
    assert (recording.gps.count, recording.gps.spread_m) == (12, 0.0)
    assert [s.id for s in recording.spectra] == [10, 20]
    assert [s.rbw_hz for s in recording.spectra] == [18_457.0, None]


def test_the_last_name_of_a_thread_counts(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    flow = writer.FlowPlan(3, "", 88_000_000, 108_000_000, block_type=63)
    path.write_bytes(
        writer.file_header(22)
        + writer.thread_name(3, "old")
        + writer.trace(flow, T0, levels_of(10, 1))
        + writer.thread_name(3, "new")
    )
    assert formats.read(path).spectra[0].description == "new"


def test_a_thread_that_changes_its_points_gives_two_flows(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    rows = [(0, T0 + i, levels_of(30 if i < 4 else 40, i)) for i in range(6)]
    writer.write(path, FLOWS[:1], rows, hostname="rfeye009999")
    spectra = formats.read(path).spectra
    assert [(s.points, s.n_traces) for s in spectra] == [(30, 4), (40, 2)]


def test_the_level_offset_may_change_from_trace_to_trace(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    rows = [levels_of(50, i, -20 + 3 * i, 90 + 3 * i) for i in range(9)]
    writer.write(
        path, FLOWS[1:], [(0, T0 + i, row) for i, row in enumerate(rows)], hostname="rfeye009999"
    )
    found = np.concatenate([block.levels for block in formats.traces(path)])
    assert np.array_equal(found, np.array(rows))
    statistics = formats.read(path, statistics=True).spectra[0].statistics
    assert statistics is not None
    assert (statistics.min, statistics.max) == (np.min(rows), np.max(rows))
    assert statistics.profile.max == tuple(np.max(rows, axis=0))


def test_a_station_clock_ahead_of_gps_time_is_reported_unless_its_offset_is_set(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file.bin"
    offset = timedelta(hours=-3)
    wall = T0 - 3 * 3600 * 10**9
    path.write_bytes(
        writer.file_header(23)
        + writer.gps(wall, *POSITION, gps_ns=T0)
        + writer.trace(FLOWS[0], wall, levels_of(10, 1))
    )
    as_if_utc = formats.read(path)
    assert [i.as_dict() for i in as_if_utc.issues] == [
        {"kind": "clock_offset", "minutes": -180, "fixes": 1}
    ]
    assert as_if_utc.outcome == "ok"
    right = formats.read(path, clock_offset=offset)
    assert right.issues == ()
    assert right.spectra[0].first_ts == T0
    assert right.clock_offset_s == -10_800


def test_blocks_that_do_not_end_on_a_word_are_verified_too(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    odd = b"".join(_odd_block(length) for length in (1, 50, 3, 0, 77, 50, 50))
    path.write_bytes(
        writer.file_header(23) + odd + writer.trace(FLOWS[0], T0, levels_of(30, 1)) + odd
    )
    recording = formats.read(path)
    assert recording.issues == ()
    assert recording.extra["blocks"] == 15


def _odd_block(length: int) -> bytes:
    body = b"\0" * 4 + length.to_bytes(4, "little") + b"\x05\0\0\0" + bytes(range(length))
    return body + sum(body).to_bytes(4, "little") + b"UUUU"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_file_is_read_or_refused_but_never_crashes(
    tmp_path: Path, valid: bytes, data: st.DataObject
) -> None:
    mutated = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(8, len(mutated) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "drop", "repeat"]))
        junk = data.draw(st.binary(min_size=1, max_size=40))
        if kind == "flip":
            mutated[at : at + len(junk)] = junk
        elif kind == "cut":
            del mutated[max(at, 40) :]
        elif kind == "insert":
            mutated[at:at] = junk
        elif kind == "drop":
            del mutated[at : at + len(junk)]
        else:
            mutated[at:at] = mutated[at : at + 4000]
        if len(mutated) < 40:
            break
    path = tmp_path / "mutated.bin"
    path.write_bytes(mutated)
    recording = formats.read(path, statistics=True)
    counts = [0] * len(recording.spectra)
    for block in formats.traces(path):
        counts[block.flow] += len(block.levels)
    assert counts == [s.n_traces for s in recording.spectra]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    block_type=st.sampled_from([1, 2, 3, 4, 7, 8, 21, 24, 40, 60, 61, 62, 63, 64, 65, 67, 68, 69]),
    payload=st.binary(max_size=200),
    head=st.binary(max_size=4),
)
def test_sound_blocks_of_any_content_do_no_harm(
    tmp_path: Path, block_type: int, payload: bytes, head: bytes
) -> None:
    path = tmp_path / "blocks.bin"
    short = payload[:20] + bytes(100) + head
    path.write_bytes(
        writer.file_header(23)
        + writer.block(1, block_type, payload)
        + writer.block(2, block_type, short)
    )
    formats.read(path, statistics=True)
    for block in formats.traces(path):
        assert block.levels.ndim == 2


def test_a_threshold_that_no_receiver_has_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    flow = writer.FlowPlan(1, "", 88_000_000, 108_000_000, 64, threshold=2_000_000_000)
    sound = writer.FlowPlan(1, "", 88_000_000, 108_000_000, 64)
    rows = [(0, T0, levels_of(50, 1)), (1, T0, levels_of(50, 1))]
    writer.write(path, [flow, sound], rows, hostname="rfeye009999")
    recording = formats.read(path, statistics=True)
    assert [i.kind for i in recording.issues] == ["bad_block"]
    assert [s.threshold for s in recording.spectra] == [-90]


def test_damage_costs_only_what_it_touches(tmp_path: Path, valid: bytes) -> None:
    whole = formats.read(valid_file(tmp_path / "whole.bin"))
    path = tmp_path / "damaged.bin"
    middle = len(valid) // 2
    path.write_bytes(valid[:middle] + b"\xff" * 11 + valid[middle + 3 :])
    damaged = formats.read(path)
    lost = sum(s.n_traces or 0 for s in whole.spectra) - sum(
        s.n_traces or 0 for s in damaged.spectra
    )
    assert lost <= 1
    assert [i.kind for i in damaged.issues] == ["bad_block"]
    assert damaged.outcome == "salvaged"
