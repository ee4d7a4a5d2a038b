"""Broken files: what is sound is read, what is wrong has a stable code."""

from __future__ import annotations

import json
import random
import struct
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uploaderd import formats
from uploaderd.formats.writers import cellplan_dbm, celzip, sigmf_recording, text

START = datetime(2024, 5, 31, 23, 59, 58, tzinfo=UTC)
LEVELS = np.random.default_rng(2).integers(-1200, -300, (4, 12)) / 10


def raw_cellplan() -> bytes:
    return cellplan_dbm.write([cellplan_dbm.Record(START, 71e6, trace) for trace in LEVELS])


def sigmf_document() -> bytes:
    document = {
        "global": {"core:datatype": "ci16_le", "core:version": "1.2.5", "core:sample_rate": 1e6},
        "captures": [{"core:sample_start": 0, "core:frequency": 1e8}],
        "annotations": [],
    }
    return json.dumps(document).encode()


FILES: dict[str, Callable[[], bytes]] = {
    cellplan_dbm.NAME: raw_cellplan,
    "packed.dBm": lambda: celzip.pack(raw_cellplan()),
    "raw.csv": lambda: text.argus_csv(START, range(12), LEVELS),
    "compressed.csv": lambda: text.argus_csv(START, range(12), LEVELS, counts=[3] * 4),
    "two.sm1809": lambda: text.sm1809(START, [(1, 2), (3, 4)], [LEVELS, LEVELS]),
    "rtl.csv": lambda: text.sweep_csv(START, [(0, 600), (600, 1200)], 100, LEVELS),
    "hackrf.csv": lambda: text.sweep_csv(START, [(0, 1200)], 100, LEVELS, hackrf=True),
    "a.sigmf-meta": sigmf_document,
}


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def kinds(recording: formats.Recording) -> list[str]:
    return [issue.kind for issue in recording.issues]


def survives(path: Path) -> None:
    """Reading everything gives a recording or a FormatError, nothing else."""
    try:
        recording = formats.read(path, statistics=True)
        counts = [0] * len(recording.spectra)
        for block in formats.traces(path):
            counts[block.flow] += len(block.levels)
            assert block.levels.shape == (len(block.times), recording.spectra[block.flow].points)
        assert counts == [spectrum.n_traces or 0 for spectrum in recording.spectra]
    except formats.FormatError:
        return


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), cut=st.booleans(), changes=st.integers(0, 12))
def test_mutated_files_give_an_answer(
    tmp_path: Path, name: str, seed: int, cut: bool, changes: int
) -> None:
    chance = random.Random(seed)
    data = bytearray(FILES[name]())
    # The table of centre frequencies is 64 KiB of nothing: mutate where something is.
    places = [at for at in range(len(data)) if at < 260 or at > len(data) - 4000]
    for _ in range(changes):
        at = chance.choice(places)
        data[at] = chance.choice((0, 1, 0x22, 0x2C, 0x3B, 0x39, 0x7F, 0xFF, chance.randrange(256)))
    if cut:
        del data[chance.choice(places) :]
    survives(write(tmp_path, name, bytes(data)))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=5,
    ),
    st.sampled_from(["core:sample_start", "core:frequency", "core:datetime", "core:geolocation"]),
    st.sampled_from(["core:sample_rate", "core:num_channels", "core:offset", "core:hw"]),
)
def test_any_values_in_sigmf_give_an_answer(
    tmp_path: Path, value: object, key: str, other: str
) -> None:
    document = json.loads(sigmf_document())
    document["captures"][0][key] = value
    document["global"][other] = value
    survives(write(tmp_path, "a.sigmf-meta", json.dumps(document).encode()))


@pytest.mark.parametrize("name", FILES)
def test_an_empty_file_says_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(formats.FormatError) as caught:
        formats.read(write(tmp_path, name, b""))
    assert caught.value.code == "empty_file"


@pytest.mark.parametrize("name", [name for name in FILES if "sigmf" not in name])
def test_a_wrong_extension_does_not_matter(tmp_path: Path, name: str) -> None:
    right = formats.read(write(tmp_path, name, FILES[name]()))
    wrong = formats.read(write(tmp_path, f"{name}.jpg", FILES[name]()))
    assert (wrong.format, wrong.spectra) == (right.format, right.spectra)


def test_a_cut_cellplan_file_keeps_its_whole_records(tmp_path: Path) -> None:
    recording = formats.read(write(tmp_path, "a.dBm", raw_cellplan()[:-10]))
    assert [issue.as_dict() for issue in recording.issues] == [
        {"kind": "truncated", "declared": 4, "available": 3}
    ]
    assert recording.spectra[0].n_traces == 3
    assert (recording.receiver, recording.spectra[0].id) == (None, 1)


def test_cellplan_sizes_that_cannot_be_are_a_bad_header(tmp_path: Path) -> None:
    for at, value in ((36, -5), (40, -1), (44, 10), (200, 9000)):
        data = bytearray(raw_cellplan())
        struct.pack_into("<i", data, at, value)
        with pytest.raises(formats.FormatError) as caught:
            formats.read(write(tmp_path, "a.dBm", bytes(data)))
        assert caught.value.code == "bad_header"


def test_a_bad_cellplan_record_is_left_out(tmp_path: Path) -> None:
    data = bytearray(raw_cellplan())
    struct.pack_into("<i", data, cellplan_dbm.HEADER_SIZE + 144, 1_000_000)
    recording = formats.read(write(tmp_path, "a.dBm", bytes(data)))
    assert recording.issues[0].as_dict() == {"kind": "bad_record", "record": 0}
    assert recording.spectra[0].n_traces == 3


def test_celzip_that_is_not_what_it_declares_is_named(tmp_path: Path) -> None:
    packed = bytearray(celzip.pack(raw_cellplan()))
    struct.pack_into("<I", packed, 144, 12)
    assert "celzip_damaged" in kinds(formats.read(write(tmp_path, "a.dBm", bytes(packed))))


@pytest.mark.parametrize("name", ["../up.dBm", "/root.dBm", "C:\\x.dBm", "a/../../b.dBm", "..\\x"])
def test_an_archive_with_path_tricks_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("first.dBm", raw_cellplan())
        archive.writestr(name, raw_cellplan())
    with pytest.raises(formats.FormatError) as caught:
        formats.read(path)
    assert caught.value.code == "unsafe_archive"


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    link = zipfile.ZipInfo("link.dBm")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(formats.FormatError) as caught:
        formats.read(path)
    assert caught.value.code == "unsafe_archive"


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.dBm", bytes(64 << 20))
    with pytest.raises(formats.FormatError) as caught:
        formats.read(path)
    assert caught.value.code == "unsafe_archive"


def test_a_damaged_member_does_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bad.dBm", b"\x18[CellSpec RawBuffer 009]" + bytes(500))
        archive.writestr("nothing.dBm", b"something else")
        archive.writestr(cellplan_dbm.NAME, raw_cellplan())
    recording = formats.read(path)
    assert kinds(recording) == ["bad_member", "bad_member"]
    assert len(recording.spectra) == 1


def test_argus_rows_and_sweeps_that_are_not_whole_are_dropped(tmp_path: Path) -> None:
    lines = FILES["compressed.csv"]().splitlines(keepends=True)
    del lines[20]
    lines[1] = lines[1].replace(b'"3"', b'"x"')
    recording = formats.read(write(tmp_path, "a.csv", b"".join(lines)))
    assert [issue.as_dict() for issue in recording.issues] == [
        {"kind": "bad_rows", "count": 1},
        {"kind": "incomplete_sweep", "rows_dropped": 22},
    ]
    assert recording.spectra[0].n_traces == 2


def test_argus_without_a_date_is_a_bad_time(tmp_path: Path) -> None:
    data = FILES["raw.csv"]().replace(b"31/05/2024", b"31/05/bad!")
    data = data.replace(b"01/06/2024", b"01/06/bad!")
    with pytest.raises(formats.FormatError) as caught:
        formats.read(write(tmp_path, "a.csv", data))
    assert caught.value.code == "bad_time"


def test_other_csv_files_are_of_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(formats.FormatError) as caught:
        formats.read(write(tmp_path, "a.csv", b"sep=,\nFrequency (Hz),Level\n1,2\n"))
    assert caught.value.code == "unknown_format"


def test_a_row_without_end_is_one_bad_row(tmp_path: Path) -> None:
    head = FILES["raw.csv"]().splitlines(keepends=True)[0]
    recording = formats.read(write(tmp_path, "a.csv", head + b"x" * 5_000_000))
    assert recording.outcome == "no_spectrum"
    assert kinds(recording) == ["bad_rows", "no_spectrum"]


def test_sm1809_bad_rows_are_named_by_their_line(tmp_path: Path) -> None:
    lines = FILES["two.sm1809"]().splitlines(keepends=True)
    lines[-1] = lines[-1][:30]
    recording = formats.read(write(tmp_path, "a.sm1809", b"".join(lines)))
    assert [issue.as_dict() for issue in recording.issues] == [
        {"kind": "bad_row", "line": len(lines)}
    ]
    assert [spectrum.n_traces for spectrum in recording.spectra] == [3, 3]


@pytest.mark.parametrize("key", ["DataPoints", "Date", "FreqStop"])
def test_sm1809_without_a_mandatory_value_names_it(tmp_path: Path, key: str) -> None:
    lines = FILES["two.sm1809"]().splitlines(keepends=True)
    data = b"".join(f"{key} \n".encode() if x.startswith(key.encode()) else x for x in lines)
    with pytest.raises(formats.FormatError) as caught:
        formats.read(write(tmp_path, "a.sm1809", data))
    assert caught.value.code == "invalid_metadata"
    assert key in caught.value.sentence


def test_sweep_lines_that_are_not_numbers_are_named_and_missing_values_are_nan(
    tmp_path: Path,
) -> None:
    lines = FILES["rtl.csv"]().splitlines(keepends=True)
    first = lines[0].split(b", ")
    lines[0] = b", ".join([*first[:6], b"nan", b"-inf", *first[8:]])
    lines[-1] = lines[-1][:-20]
    recording = formats.read(write(tmp_path, "a.csv", b"".join(lines)), statistics=True)
    assert kinds(recording) == ["bad_row", "incomplete_sweep"]
    statistics = recording.spectra[0].statistics
    assert statistics is not None
    assert statistics.count == 3 * 12 - 2


def test_a_sweep_file_that_changes_its_band_has_two_spectra(tmp_path: Path) -> None:
    other = text.sweep_csv(START, [(5000, 6200)], 100, LEVELS)
    recording = formats.read(write(tmp_path, "a.csv", FILES["rtl.csv"]() + other))
    assert [(s.start_hz, s.n_traces) for s in recording.spectra] == [(0, 3), (5000, 3)]
    # Nothing tells the last sweep of the one band from the beginning of a wider one.
    assert [issue.as_dict() for issue in recording.issues] == [
        {"kind": "incomplete_sweep", "count": 1}
    ]


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}", sigmf_document()[:-5], b'{"global": 1}'])
def test_sigmf_metadata_that_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(formats.FormatError) as caught:
        formats.read(write(tmp_path, "a.sigmf-meta", data))
    assert caught.value.code in {"invalid_metadata", "unknown_format"}


def test_sigmf_data_that_is_no_multiple_of_a_sample_is_truncated(tmp_path: Path) -> None:
    meta = tmp_path / "a.sigmf-meta"
    sigmf_recording.write(meta, 1e6, [(0, 1e8, START)], total=10)
    with meta.with_suffix(".sigmf-data").open("ab") as data:
        data.write(b"x")
    assert kinds(formats.read(meta)) == ["truncated"]


def test_sigmf_names_no_file_elsewhere(tmp_path: Path) -> None:
    document = json.loads(sigmf_document())
    document["global"]["core:dataset"] = "/etc/hostname"
    path = write(tmp_path, "a.sigmf-meta", json.dumps(document).encode())
    assert "missing_dataset" in kinds(formats.read(path))
