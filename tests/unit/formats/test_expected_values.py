"""Every sample file, value by value, against `expected.json` beside the samples."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SAMPLES
from uploaderd import formats
from uploaderd.formats.registry import formats as registered
from uploaderd.formats.report import as_dict

FILES: dict[str, Any] = (
    json.loads((SAMPLES / "expected.json").read_text())["files"] if SAMPLES.is_dir() else {}
)
NAMES = {format_.name for format_ in registered()}
NOT_READ = {"kind", "source", "what", "sha256", "size_bytes"}
"""What the list says of the files themselves."""
TOLERANCE = {"lat": 2e-6, "lon": 2e-6, "alt_m": 0.001, "sum": 0.2}


def tolerance(key: str, within: str) -> float:
    if key.endswith("_hz"):
        return 1.0
    if within in {"azimuth_deg", "azimuth_quality", "first", "last"}:
        return 0.2 if key == "sum" else 0.1
    return TOLERANCE.get(key, 0.011)


def differences(expected: Any, found: Any, at: str = "", within: str = "") -> list[str]:
    """Where what was found is not what was expected; more keys may be found."""
    key = at.rsplit(".", 1)[-1]
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return [f"{at}: {found!r} is not an object"]
        absent = [f"{at}.{name} is missing" for name in expected if name not in found]
        return absent + [
            difference
            for name in expected
            if name in found
            for difference in differences(expected[name], found[name], f"{at}.{name}", key)
        ]
    if isinstance(expected, list):
        if len(expected) != len(found):
            return [f"{at}: {len(found)} members, expected {len(expected)}"]
        pairs = enumerate(zip(expected, found, strict=True))
        return [d for i, (e, f) in pairs for d in differences(e, f, f"{at}.{key}[{i}]", within)]
    if key.endswith("_ts") and expected and found:
        same = datetime.fromisoformat(expected[:23]) == datetime.fromisoformat(found[:23])
        same = same and expected.rstrip("Z") == found.rstrip("Z")
    elif isinstance(expected, int | float) and isinstance(found, int | float):
        same = abs(expected - found) <= tolerance(key, within)
    else:
        same = expected == found
    return [] if same else [f"{at}: {found!r}, expected {expected!r}"]


@pytest.mark.parametrize("name", [n for n, e in FILES.items() if e["format"] in {*NAMES, None}])
def test_a_sample_is_read_as_expected(samples: Path, name: str) -> None:
    expected = {key: value for key, value in FILES[name].items() if key not in NOT_READ}
    path = samples / name
    if expected["outcome"] == "error":
        with pytest.raises(formats.FormatError) as caught:
            formats.read(path)
        assert caught.value.code == expected["error"]
        return
    found = as_dict(formats.read(path, statistics=True))
    assert differences(expected, found) == []


@pytest.mark.parametrize("name", [n for n, e in FILES.items() if e["format"] in NAMES])
def test_traces_are_those_that_the_metadata_announce(samples: Path, name: str) -> None:
    path = samples / name
    recording = formats.read(path, statistics=True)
    counts = [0] * len(recording.spectra)
    for block in formats.traces(path):
        spectrum = recording.spectra[block.flow]
        counts[block.flow] += len(block.levels)
        assert block.levels.shape == (len(block.times), spectrum.points)
    assert counts == [s.n_traces or 0 for s in recording.spectra]
