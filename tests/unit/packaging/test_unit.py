"""The systemd unit: sound, and as closed as the documentation says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

RPM = Path(__file__).parents[3] / "rpm"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with programs that exist on this machine."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = (RPM / "uploaderd.service").read_text()
    path = tmp_path / "uploaderd.service"
    path.write_text(re.sub(r"^(ExecStart(?:Pre)?)=.*$", r"\1=/bin/true", text, flags=re.MULTILINE))
    return path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], check=False, capture_output=True, text=True, timeout=60
    )


def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    done = analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_exposure_is_at_most_two(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(unit))
    assert done.returncode == 0, done.stdout


def test_every_item_that_is_open_has_its_reason_in_the_documentation(unit: Path) -> None:
    shown = analyze("security", "--offline=true", "--no-pager", str(unit)).stdout
    open_ones = re.findall(r"^✗ (\w+)=(?:~(@?\w+))?", shown, re.MULTILINE)
    assert open_ones
    told = (RPM.parent / "docs" / "operators" / "secure.md").read_text()
    for setting, part in open_ones:
        words = {setting, part.removeprefix("@")} - {"", "SystemCallFilter"}
        assert any(word in told for word in words), (setting, part)


def test_the_daemon_has_time_to_drain_before_systemd_kills_it() -> None:
    text = (RPM / "uploaderd.service").read_text()
    found = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert found is not None
    assert int(found[1]) > 60 + 5
