from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from uploaderd import formats
from uploaderd.formats.writers import rflook_bin as writer

T0 = 1_700_000_000_123_000_000
TIMES = [T0 + i * 1_001_000_000 for i in range(20)]


def levels_of(points: int = 120) -> np.ndarray:
    random = np.random.default_rng(3)
    return np.rint(random.uniform(-120, -20, (len(TIMES), points)) * 2) / 2


WRITERS: dict[str, Callable[[Path, writer.Plan], None]] = {
    "v.1/1": lambda path, plan: writer.write_v1(path, plan, TIMES, levels_of()),
    "v.2/1": lambda path, plan: writer.write_v2(path, plan, TIMES, levels_of()),
    "v.2/3": lambda path, plan: writer.write_v2(path, plan, TIMES, levels_of(), version="v.2/3"),
}


@pytest.mark.parametrize("version", WRITERS)
@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("position", [None, (-12.5, -38.25)])
def test_every_version_comes_back_as_it_was_written(
    tmp_path: Path, version: str, bits: int, position: tuple[float, float] | None
) -> None:
    path = tmp_path / "file.bin"
    plan = writer.Plan(bits=bits, position=position, unit="dBuV/m", detector="Positive Peak")
    WRITERS[version](path, plan)
    recording = formats.read(path, statistics=True)
    assert (recording.format_version, recording.outcome) == (version, "ok")
    assert (recording.receiver, recording.method) == (plan.receiver, plan.task)
    (spectrum,) = recording.spectra
    assert (spectrum.start_hz, spectrum.stop_hz, spectrum.rbw_hz) == (76e6, 108e6, 30e3)
    assert (spectrum.unit, spectrum.detector) == ("dBuV/m", "Positive Peak")
    assert (spectrum.first_ts, spectrum.last_ts) == (TIMES[0], TIMES[-1])
    assert (spectrum.n_traces, spectrum.points) == (20, 120)
    assert spectrum.statistics is not None
    assert spectrum.statistics.max == pytest.approx(levels_of().max())
    blocks = list(formats.traces(path))
    assert np.concatenate([b.times for b in blocks]).tolist() == TIMES
    assert np.allclose(np.concatenate([b.levels for b in blocks]), levels_of(), atol=0.005)
    if position is None:
        assert recording.gps is None
    else:
        assert recording.gps is not None
        assert (recording.gps.lat, recording.gps.lon, recording.gps.count) == (*position, 20)


def test_metadata_of_a_damaged_gzip_stream_needs_no_inflation_but_statistics_find_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file.bin"
    WRITERS["v.2/1"](path, writer.Plan())
    raw = bytearray(path.read_bytes())
    at = raw.index(b"StArT", len(raw) // 2)
    raw[at + 60 : at + 64] = b"\0\0\0\0"
    path.write_bytes(raw)
    assert formats.read(path).spectra[0].n_traces == 20
    found = formats.read(path, statistics=True)
    assert found.spectra[0].n_traces == 19
    assert [i.as_dict() for i in found.issues] == [{"kind": "bad_block", "offset": at}]


def test_an_offset_that_no_receiver_has_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    WRITERS["v.1/1"](path, writer.Plan())
    raw = bytearray(path.read_bytes())
    raw[80 + 8 : 80 + 10] = (30_000).to_bytes(2, "little")
    path.write_bytes(raw)
    (spectrum,) = formats.read(path, statistics=True).spectra
    assert spectrum.n_traces == 20
    assert spectrum.statistics is not None
    assert spectrum.statistics.count == 19 * 120


def test_bytes_after_the_last_block_are_named(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    WRITERS["v.2/1"](path, writer.Plan())
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"tail")
    recording = formats.read(path)
    assert recording.spectra[0].n_traces == 20
    issue = {"kind": "trailing_bytes", "offset": size, "skipped": 4}
    assert [i.as_dict() for i in recording.issues] == [issue]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    version=st.sampled_from(sorted(WRITERS)),
    bits=st.sampled_from([8, 16, 32]),
    changes=st.lists(st.tuples(st.integers(10, 100_000), st.binary(max_size=30)), max_size=6),
    cut=st.none() | st.integers(15, 30_000),
)
@example(version="v.1/1", bits=32, changes=[(697, b"\x00\x81\x7f")], cut=None)  # Signalling NaN.
def test_a_mutated_file_is_read_or_refused_but_never_crashes(
    tmp_path: Path, version: str, bits: int, changes: list[tuple[int, bytes]], cut: int | None
) -> None:
    path = tmp_path / "file.bin"
    WRITERS[version](path, writer.Plan(bits=bits, position=(1.5, 2.5)))
    raw = bytearray(path.read_bytes())
    for at, junk in changes:
        place = at % len(raw)
        raw[place : place + len(junk)] = junk
    path.write_bytes(raw[:cut])
    try:
        formats.read(path, statistics=True)
        for block in formats.traces(path):
            assert block.levels.ndim == 2
    except formats.FormatError:
        pass


@pytest.mark.parametrize("garbage", [b"junk" * 9, b"StOp", b"x", b"StOp" * 3])
def test_bytes_between_two_blocks_are_a_gap_and_cost_no_block(
    tmp_path: Path, garbage: bytes
) -> None:
    path = tmp_path / "file.bin"
    writer.write_v2(path, writer.Plan(), TIMES, levels_of())
    raw = path.read_bytes().replace(b"StOpStArT", b"StOp" + garbage + b"StArT", 1)
    path.write_bytes(raw)
    recording = formats.read(path, statistics=True)
    assert recording.spectra[0].n_traces == len(TIMES)
    (issue,) = recording.issues
    assert issue.as_dict() == {
        "kind": "gap",
        "offset": raw.index(b"StOp" + garbage) + 4,
        "skipped": len(garbage),
    }
