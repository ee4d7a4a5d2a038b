"""R&S Argus CSV exports, compressed and raw; see docs/formats/argus_csv.md."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.argus_csv import clock, info, rows
from uploaderd.formats.errors import BAD_TIME, UNKNOWN_FORMAT, FormatError
from uploaderd.formats.fill import with_statistics
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.model import NO_TIME, ReadOptions, Recording, Spectrum, TraceBlock
from uploaderd.formats.registry import Format

MAX_GRIDS = 256
"""Different sets of frequencies that are told apart; rows of any further one are dropped."""
BLOCK_TRACES = 1 << 18
"""Levels that a block of traces holds."""


class _Sweep(NamedTuple):
    """Rows with rising frequencies; `first` and `last` are the texts of their times."""

    frequency: bytes
    first: bytes
    last: bytes
    level: NDArray[np.float32]


@dataclass
class _Grid:
    """All sweeps over one set of frequencies."""

    sweeps: int
    first: bytes
    last: bytes


@dataclass
class _Survey:
    """What one pass over the file found."""

    grids: dict[bytes, _Grid] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    rows: int = 0
    bad: int = 0

    def chosen(self) -> bytes | None:
        """The grid that has all frequencies of the file; without one, that of most rows."""
        if not self.grids:
            return None
        everything = {key: np.frombuffer(key, np.int64) for key in self.grids}
        points = np.unique(np.concatenate(list(everything.values()))).size
        for key, grid in everything.items():
            if grid.size == points:
                return key
        return max(self.grids, key=lambda key: (len(key) * self.grids[key].sweeps, len(key)))


def sniff(head: bytes, path: Path) -> bool:
    """A line among the first names the columns."""
    del path
    return b"Frequency (Hz)" in head and rows.layout(head) is not None


def read(path: Path, options: ReadOptions) -> Recording:
    """The recording, of one spectrum. Raises FormatError `bad_time` if no date can be read."""
    log = IssueLog()
    plan, about = _open(path)
    survey = _survey(path, plan)
    key = survey.chosen()
    if survey.bad:
        log.add("bad_rows", count=survey.bad)
    spectra: tuple[Spectrum, ...] = ()
    if key is None:
        log.add("no_spectrum")
    else:
        grid = survey.grids[key]
        dropped = survey.rows - grid.sweeps * len(key) // 8
        if dropped:
            log.add("incomplete_sweep", rows_dropped=dropped)
        spectra = (_spectrum(key, survey, plan, about, options),)
        if options.statistics:
            blocks = _blocks(path, plan, key, _is_month_first(grid, about), options)
            spectra = with_statistics(spectra, blocks)
    return Recording(
        format=FORMAT.name,
        format_version="compressed" if plan.compressed else "raw",
        receiver=about.first("Meas. Unit"),
        method=about.within("Measurement Definition", "Name"),
        spectra=spectra,
        gps=about.position,
        issues=log.result(),
        time_digits=3,
        clock_offset_s=options.clock_offset.total_seconds(),
        extra={"receiver_model": about.within("Device 2", "Name")},
    )


def traces(path: Path, options: ReadOptions) -> Iterator[TraceBlock]:
    """Decoded traces of the complete sweeps."""
    plan, about = _open(path)
    survey = _survey(path, plan)
    key = survey.chosen()
    if key is None:
        return iter(())
    month_first = _is_month_first(survey.grids[key], about)
    return _blocks(path, plan, key, month_first, options)


def _open(path: Path) -> tuple[rows.Layout, info.Info]:
    with path.open("rb") as file:
        head = file.read(2 * rows.HEAD)
    plan = rows.layout(head)
    if plan is None:
        raise FormatError(UNKNOWN_FORMAT, "No line names the columns of an Argus export.")
    lines = head[plan.begin :].splitlines()[: rows.INFO_ROWS]
    return plan, info.parse(rows.text_of(b"\n".join(lines)), len(plan.columns))


def _survey(path: Path, plan: rows.Layout) -> _Survey:
    survey = _Survey()

    def counted() -> Iterator[rows.Rows]:
        for block in rows.read(path, plan):
            survey.bad += block.bad
            survey.rows += block.frequency.size
            values, numbers = np.unique(block.counts, return_counts=True)
            survey.counts.update(dict(zip(values.tolist(), numbers.tolist(), strict=True)))
            yield block

    for sweep in _sweeps(counted(), plan):
        grid = survey.grids.get(sweep.frequency)
        if grid:
            grid.sweeps += 1
            grid.last = sweep.last
        elif len(survey.grids) < MAX_GRIDS:
            survey.grids[sweep.frequency] = _Grid(1, sweep.first, sweep.last)
    return survey


def _sweeps(blocks: Iterator[rows.Rows], plan: rows.Layout) -> Iterator[_Sweep]:
    """Cuts rows where the frequency does not rise; sweeps that mix two times are left out."""
    held: list[_Sweep] = []
    previous = -1
    for block in blocks:
        if not block.frequency.size:
            continue
        falls = np.flatnonzero(np.diff(block.frequency, prepend=previous) <= 0)
        previous = int(block.frequency[-1])
        raw = block.data.tobytes()
        cuts = [0, *(cut for cut in falls.tolist() if cut), block.frequency.size]
        if falls.size and falls[0] == 0:
            yield from _joined(held, plan)
            held = []
        for begin, end in itertools.pairwise(cuts):
            if begin:
                yield from _joined(held, plan)
                held = []
            (a, b), (c, d) = block.stamps[begin].tolist(), block.stamps[end - 1].tolist()
            held.append(
                _Sweep(
                    block.frequency[begin:end].tobytes(),
                    raw[a:b],
                    raw[c:d],
                    block.level[begin:end],
                )
            )
    yield from _joined(held, plan)


def _joined(parts: list[_Sweep], plan: rows.Layout) -> Iterator[_Sweep]:
    """One sweep out of its parts in neighbouring blocks."""
    if not parts:
        return
    first, last = parts[0].first, parts[-1].last
    # A sweep of compressed rows has one time; two are the remains of two damaged sweeps.
    if plan.compressed and first != last:
        return
    if len(parts) == 1:
        yield parts[0]
    else:
        frequency = b"".join(part.frequency for part in parts)
        yield _Sweep(frequency, first, last, np.concatenate([part.level for part in parts]))


def _is_month_first(grid: _Grid, about: info.Info) -> bool:
    stamps = (rows.text_of(grid.first), rows.text_of(grid.last))
    return clock.is_month_first(stamps, about.month_first)


def _spectrum(
    key: bytes, survey: _Survey, plan: rows.Layout, about: info.Info, options: ReadOptions
) -> Spectrum:
    grid, frequency = survey.grids[key], np.frombuffer(key, np.int64)
    month_first = _is_month_first(grid, about)
    first = clock.to_ns(rows.text_of(grid.first), month_first)
    last = clock.to_ns(rows.text_of(grid.last), month_first)
    if first is None or last is None:
        raise FormatError(BAD_TIME, f"No date is in {rows.text_of(grid.first)[:40]!r}.")
    points = frequency.size
    step = float(frequency[-1] - frequency[0]) / (points - 1) if points > 1 else None
    return Spectrum(
        id=1,
        description=about.within("Range Definition", "Name"),
        start_hz=int(frequency[0]),
        stop_hz=int(frequency[-1]),
        points=points,
        n_traces=grid.sweeps,
        first_ts=first - options.clock_offset_ns,
        last_ts=last - options.clock_offset_ns,
        step_hz=step,
        rbw_hz=about.rbw_hz,
        unit=plan.unit,
        processing="Average" if plan.compressed else "ClearWrite",
        detector=about.first("Detector"),
        antenna=about.within("Device 1", "Name"),
        extra={"integration_median": _median(survey.counts) if plan.compressed else None},
    )


def _median(counts: Counter[int]) -> float:
    """Median of numbers of which it is known how often each occurs."""
    values = np.array(sorted(counts))
    running = np.cumsum([counts[value] for value in values.tolist()])
    total = int(running[-1])
    middle = np.searchsorted(running, [(total + 1) // 2, total // 2 + 1])
    return float(values[middle].mean())


def _blocks(
    path: Path, plan: rows.Layout, key: bytes, month_first: bool, options: ReadOptions
) -> Iterator[TraceBlock]:
    at_once = max(1, BLOCK_TRACES // (len(key) // 8))
    times: list[int] = []
    levels: list[NDArray[np.float32]] = []
    for sweep in _sweeps(rows.read(path, plan), plan):
        if sweep.frequency != key:
            continue
        time = clock.to_ns(rows.text_of(sweep.first), month_first)
        times.append(NO_TIME if time is None else time - options.clock_offset_ns)
        levels.append(sweep.level)
        if len(times) == at_once:
            yield TraceBlock(0, np.array(times, np.int64), np.stack(levels))
            times, levels = [], []
    if times:
        yield TraceBlock(0, np.array(times, np.int64), np.stack(levels))


FORMAT = Format(
    name="argus_csv",
    title="R&S Argus CSV export",
    extensions=(".csv",),
    sniff=sniff,
    read=read,
    traces=traces,
)
