"""A reader that hangs, eats memory or dies takes nothing down but its own process.

The toy formats are installed as another package would be: a folder on the path with an entry point.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from uploaderd.formats import FormatError
from uploaderd.services import reading

ROOT = Path(__file__).parents[3]

NAUGHTY = """
import os, signal, time
import toy
from uploaderd.formats import Format

def sniff(head, path):
    return head.startswith(b"#naughty")

def read(path, options):
    deed = path.read_text().split()[1]
    if deed == "sleep":
        time.sleep(3600)
    if deed == "spin":
        while True:
            pass
    if deed == "eat":
        held = [bytearray(16 << 20) for _ in range(1000)]
    if deed == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if deed == "raise":
        raise KeyError("no such luck")
    if deed == "exit":
        os._exit(3)
    print("a format that prints")
    return toy.read(path, options)

FORMAT = Format("naughty", "Naughty", (".naughty",), sniff, read, lambda path, options: iter(()))
"""


@pytest.fixture(autouse=True)
def installed_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    page = (ROOT / "docs/formats/adding.md").read_text()
    example = re.search(r"```python\n(.*?)```", page, re.S)
    assert example is not None
    package = tmp_path / "site"
    info = package / "toy-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "toy.py").write_text(example[1])
    (package / "naughty.py").write_text(NAUGHTY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[uploaderd.formats]\ntoy = toy:FORMAT\nnaughty = naughty:FORMAT\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(package))
    reading.close_readers()
    yield
    reading.close_readers()


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    path = tmp_path / "a.toy"
    path.write_bytes(
        b"#toy 1\n7200;100e6;1000;-90,-80,-70\nnonsense\n7201;100e6;1000;-91,-81,-71\n"
    )
    return path


def naughty(folder: Path, deed: str) -> Path:
    path = folder / f"{deed}.naughty"
    path.write_text(f"#naughty {deed}\n")
    return path


def test_the_example_of_the_docs_is_read_with_statistics(toy: Path) -> None:
    recording = reading.read_guarded(toy, statistics=True, clock_offset=timedelta(hours=1))
    (spectrum,) = recording.spectra
    assert recording.outcome == "salvaged"
    assert [issue.as_dict() for issue in recording.issues] == [{"kind": "bad_row", "line": 3}]
    assert (spectrum.start_hz, spectrum.stop_hz, spectrum.n_traces) == (100_000_000, 100_002_000, 2)
    assert spectrum.first_ts == 3600 * 10**9
    assert spectrum.statistics is not None
    assert (spectrum.statistics.min, spectrum.statistics.max) == (-91, -70)


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        ("sleep", "reader_timeout"),
        ("spin", "reader_timeout"),
        ("eat", "reader_memory"),
        ("die", "reader_crashed"),
        ("exit", "reader_crashed"),
        ("raise", "reader_crashed"),
    ],
)
def test_a_bad_reader_is_one_clear_error_and_the_next_file_is_read(
    tmp_path: Path, toy: Path, deed: str, code: str
) -> None:
    reading.read_guarded(toy)
    limit = 1.0 if code == "reader_timeout" else 60.0
    with pytest.raises(FormatError) as caught:
        reading.read_guarded(
            naughty(tmp_path, deed), time_limit_s=limit, memory_limit_bytes=256 << 20
        )
    assert caught.value.code == code
    assert f"{deed}.naughty" in caught.value.sentence
    assert reading.read_guarded(toy).outcome == "salvaged"


def test_ordinary_errors_keep_their_code_and_the_process(tmp_path: Path, toy: Path) -> None:
    reading.read_guarded(toy)
    (before,) = reading._idle
    unknown = tmp_path / "unknown.bin"
    unknown.write_bytes(b"nothing that anybody knows")
    with pytest.raises(FormatError) as caught:
        reading.read_guarded(unknown)
    assert caught.value.code == "unknown_format"
    assert reading._idle == [before]
    assert before.usable


def test_what_a_format_prints_does_not_disturb_the_answer(tmp_path: Path) -> None:
    assert reading.read_guarded(naughty(tmp_path, "print")).outcome == "no_spectrum"


def test_a_process_that_died_between_two_files_is_replaced(toy: Path) -> None:
    reading.read_guarded(toy)
    (reader,) = reading._idle
    reader.close()
    assert reading.read_guarded(toy).outcome == "salvaged"
