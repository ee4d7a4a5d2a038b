from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from uploaderd import formats
from uploaderd.ctl.main import main
from uploaderd.formats.writers import crfs_bin as writer

T0 = 1_700_000_000_123_456_789
LEVELS = np.rint(np.random.default_rng(1).uniform(-120, -20, (8, 50)) * 2) / 2


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    flow = writer.FlowPlan(10, "FM $1\x1b[31m", 88_000_000, 108_000_000, rbw_hz=18_457)
    rows = [(0, T0 + i * 10**9 + (i > 5) * 10**11, row) for i, row in enumerate(LEVELS)]
    writer.write(path, [flow], rows, hostname="rfeye009999", position=(-12.5, -38.25, 10))
    return path


def test_json_gives_one_object_a_file_in_the_order_given_and_unreadable_ones_too(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.bin"
    empty.touch()
    absent = tmp_path / "absent.bin"
    files = [str(path) for path in (empty, recording, absent)]
    assert main(["inspect", "--json", *files]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [f["file"] for f in found] == files
    assert [f["outcome"] for f in found] == ["error", "ok", "error"]
    assert [f.get("error") for f in found] == ["empty_file", None, "unreadable"]
    (spectrum,) = found[1]["spectra"]
    assert spectrum["first_ts"] == "2023-11-14T22:13:20.123456789Z"
    assert spectrum["statistics"]["max"] == LEVELS.max()
    assert spectrum["first_trace"]["sum"] == LEVELS[0].sum()


def test_the_table_names_flows_and_lets_no_control_character_through(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(recording)]) == 0
    text = capsys.readouterr().out
    assert "FM $1?[31m" in text
    assert "\x1b" not in text
    assert "88 - 108" in text


def test_quick_decodes_no_level(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--json", "--quick", str(recording)]) == 0
    assert json.loads(capsys.readouterr().out)["spectra"][0]["statistics"] is None


def test_plot_draws_a_picture(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "band.png"
    assert main(["inspect", "--quick", str(recording), "--plot", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_a_flow_that_is_not_there_cannot_be_drawn(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "band.png"
    assert main(["inspect", str(recording), "--plot", str(out), "--flow", "7"]) == 1
    assert "no_levels" in capsys.readouterr().err
    assert not out.exists()


def test_traces_are_exported_with_the_recording_beside_them(
    recording: Path, tmp_path: Path
) -> None:
    out = tmp_path / "levels.parquet"
    assert main(["inspect", "--quick", str(recording), "--traces", str(out)]) == 0
    table = pq.read_table(out)
    assert np.array_equal(np.array(table["levels"].to_pylist()), LEVELS)
    assert table["time"].cast("int64").to_pylist()[0] == T0
    assert json.loads(table.schema.metadata[b"recording"])["receiver"] == "rfeye009999"


def test_traces_are_a_sound_sigmf_recording(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "band.sigmf-meta"
    assert main(["inspect", "--quick", str(recording), "--traces", str(out)]) == 0
    again = formats.read(out, verify=True)
    assert (again.outcome, again.receiver, again.start) == ("ok", "rfeye009999", T0)
    assert len(again.spectra) == len(LEVELS)
    levels = np.fromfile(out.with_suffix(".sigmf-data"), "<f4").reshape(LEVELS.shape)
    assert np.array_equal(levels, LEVELS)
    about = json.loads(out.read_text())["global"]
    assert (about["core:num_channels"], about["spectrum:unit"]) == (LEVELS.shape[1], "dBm")
    assert not list(tmp_path.glob("*.part"))


def test_an_export_of_another_kind_is_refused(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(recording), "--traces", "x.csv"]) == 2
    assert ".parquet or .sigmf-meta" in capsys.readouterr().err


def test_pictures_and_exports_are_of_one_file(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(recording), str(recording), "--plot", "x.png"]) == 2
    assert "one file" in capsys.readouterr().err
