"""The demo is the README's promise: it runs, runs again, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.demo import play
from lab.recordings import write_crfs


def processes_of(folder: Path) -> list[str]:
    """Command lines of the processes that name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in line:
            found.append(line)
    return found


@pytest.mark.timeout(400)
def test_the_first_run_brings_everything_home_and_the_second_finds_nothing_new(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for number in range(5):
        write_crfs(files / f"{number}.bin", number, traces=12)
    (files / "broken.bin").write_bytes(b"no measurement file")
    (files / "ação 1.bin").write_bytes((files / "0.bin").read_bytes())
    folder = tmp_path / "demo"

    assert play.run(folder, files=files) == 0
    said = capsys.readouterr().out
    assert "7 new files, each accounted for" in said
    assert "6 processed, 1 trashed" in said
    assert "unknown_format" in said
    assert "published/current/spectra/year=2026/month=01" in said
    assert (folder / "spectrum.png").read_bytes().startswith(b"\x89PNG")

    assert play.run(folder, files=files) == 0
    assert "done: nothing new" in capsys.readouterr().out
    assert processes_of(folder) == []
