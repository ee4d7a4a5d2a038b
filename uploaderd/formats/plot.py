"""A recording as a picture: levels over frequency, and a waterfall. Needs matplotlib."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats import FormatError, Recording, Spectrum, read, traces
from uploaderd.formats.errors import MISSING_LIBRARY
from uploaderd.formats.flows import chosen
from uploaderd.formats.model import NO_TIME
from uploaderd.formats.times import iso

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_ROWS = 600
"""Rows of the waterfall; of more traces, a row shows the highest level of several."""
MAX_COLUMNS = 2000
"""Columns of the waterfall; of more points, a column shows the highest level of several."""
GAP = 5
"""A pause longer than this many usual intervals between rows stays blank."""

UNIT_NAMES = {"dBuV": "dBµV", "dBuV/m": "dBµV/m"}
_MAX, _MEAN, _MIN = "#c0392b", "#1f2d3d", "#2471a3"


@dataclass(frozen=True, slots=True)
class _Levels:
    """What is drawn: figures [points], waterfall [rows, columns], times [rows + 1] or `None`."""

    low: NDArray[np.float32]
    mean: NDArray[np.float64]
    high: NDArray[np.float32]
    waterfall: NDArray[np.float32]
    times: NDArray[np.int64] | None


def plot_recording(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    flow: int | None = None,
    clock_offset: timedelta = timedelta(0),
) -> None:
    """Draws one flow of a measurement file.

    Args:
        path: the measurement file.
        out: the picture; its ending (`.png`, `.pdf`, `.svg`) says which kind.
        flow: index into the recording's spectra; by default the flow with the most levels.
        clock_offset: how far the station's clock is ahead of UTC.

    Raises FormatError if the file cannot be read, has no levels to draw, or matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        sentence = "Pictures need matplotlib: install uploaderd[plot]."
        raise FormatError(MISSING_LIBRARY, sentence) from error
    recording = read(path, clock_offset=clock_offset)
    index = chosen(recording, Path(path).name, flow)
    levels = _gather(path, index, recording.spectra[index], clock_offset)
    figure = Figure(figsize=(11.0, 8.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    _draw(figure, recording, recording.spectra[index], levels, Path(path).name)
    with warnings.catch_warnings():
        # Letters that the font lacks are drawn as boxes; nothing is to be done about them.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(out)


def _gather(
    path: str | os.PathLike[str], index: int, spectrum: Spectrum, clock_offset: timedelta
) -> _Levels:
    """One pass over the traces, into a picture's worth of numbers."""
    points, count = spectrum.points or 1, max(spectrum.n_traces or 1, 1)
    rows, columns = min(count, MAX_ROWS), min(points, MAX_COLUMNS)
    edges = np.arange(columns) * points // columns
    waterfall = np.full((rows, columns), -np.inf, np.float32)
    times = np.full(rows + 1, NO_TIME)
    low, high = np.full(points, np.inf, np.float32), np.full(points, -np.inf, np.float32)
    total, seen = np.zeros(points), np.zeros(points, np.int64)
    position = 0
    for block in traces(path, clock_offset=clock_offset):
        if block.flow != index:
            continue
        finite = np.isfinite(block.levels)
        low = np.minimum(low, np.where(finite, block.levels, np.inf).min(axis=0))
        peaks = np.where(finite, block.levels, -np.inf)
        high = np.maximum(high, peaks.max(axis=0))
        total += np.where(finite, block.levels, 0).sum(axis=0, dtype=np.float64)
        seen += finite.sum(axis=0)
        row = np.minimum((position + np.arange(len(peaks))) * rows // count, rows - 1)
        np.maximum.at(waterfall, row, np.maximum.reduceat(peaks, edges, axis=1))
        first_of_row = np.unique(row, return_index=True)
        fresh = times[first_of_row[0]] == NO_TIME
        times[first_of_row[0][fresh]] = block.times[first_of_row[1][fresh]]
        times[rows] = block.times[-1]
        position += len(peaks)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / seen
    waterfall[~np.isfinite(waterfall)] = np.nan
    low[~np.isfinite(low)] = np.nan
    high[~np.isfinite(high)] = np.nan
    ordered = (times != NO_TIME).all() and (np.diff(times[:rows]) > 0).all()
    if not ordered:
        return _Levels(low, mean, high, waterfall, None)
    return _Levels(low, mean, high, *_with_gaps(waterfall, times))


def _with_gaps(
    waterfall: NDArray[np.float32], times: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows with the times between them; pauses become blank rows."""
    starts = times[:-1]
    usual = int(np.median(np.diff(starts))) if len(starts) > 1 else 1_000_000_000
    ends = np.append(starts[1:], max(int(times[-1]), int(starts[-1])) + usual)
    rows, edges = [], [int(starts[0])]
    blank = np.full(waterfall.shape[1], np.nan, np.float32)
    for row, start, end in zip(waterfall, starts.tolist(), ends.tolist(), strict=True):
        rows.append(row)
        if end - start > GAP * usual:
            edges.append(start + usual)
            rows.append(blank)
        edges.append(end)
    return np.array(rows), np.array(edges)


def _draw(
    figure: Figure, recording: Recording, spectrum: Spectrum, levels: _Levels, name: str
) -> None:
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.35), width_ratios=(1, 0.022))
    above = figure.add_subplot(grid[0, 0])
    below = figure.add_subplot(grid[1, 0], sharex=above)
    unit = UNIT_NAMES.get(spectrum.unit or "", spectrum.unit or "no unit stated")
    start, stop = spectrum.start_hz or 0, spectrum.stop_hz or 0
    scale, scale_name = _scale(max(start, stop))
    points = len(levels.mean)
    frequencies = np.linspace(start, stop, points) / scale
    _spectrum(above, frequencies, levels, unit)
    mesh = _waterfall(below, (start / scale, stop / scale), levels)
    quantity = "Occupancy" if unit == "%" else "Level"
    label = f"{quantity} ({unit})"
    above.set_ylabel(label)
    below.set_xlabel(f"Frequency ({scale_name})")
    figure.colorbar(mesh, cax=figure.add_subplot(grid[1, 1]), label=label, extend="both")
    title = " · ".join(part for part in (spectrum.description, recording.receiver) if part)
    figure.suptitle(_text(title or name), fontsize=14, fontweight="bold")
    above.set_title(_text(_facts(recording, spectrum)), fontsize=9, color="#444444")


def _spectrum(axes: Axes, frequencies: NDArray[Any], levels: _Levels, unit: str) -> None:
    axes.fill_between(frequencies, levels.low, levels.high, color="#d6dde4", linewidth=0)
    for values, color, label in (
        (levels.high, _MAX, "maximum"), (levels.mean, _MEAN, "mean"), (levels.low, _MIN, "minimum"),
    ):  # fmt: skip
        axes.plot(frequencies, values, color=color, linewidth=0.8, label=label)
    bottom, top = (0.0, 100.0) if unit == "%" else axes.get_ylim()
    # Room for the legend above the strongest signal.
    axes.set_ylim(bottom, top + (top - bottom) * 0.1)
    if len(frequencies) > 1 and frequencies[0] < frequencies[-1]:
        axes.set_xlim(frequencies[0], frequencies[-1])
    axes.grid(color="#cccccc", linewidth=0.5)
    axes.tick_params(labelbottom=False)
    axes.legend(loc="upper right", ncols=3, fontsize=8, framealpha=0.9)


def _waterfall(axes: Axes, band: tuple[float, float], levels: _Levels) -> Any:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    columns = np.linspace(*band, levels.waterfall.shape[1] + 1)
    rows: NDArray[Any] = np.arange(len(levels.waterfall) + 1)
    axes.set_ylabel("Trace")
    if levels.times is not None:
        rows = levels.times.view("datetime64[ns]")
        axes.set_ylabel("Time (UTC)")
        locator = AutoDateLocator()
        axes.yaxis.set_major_locator(locator)
        axes.yaxis.set_major_formatter(ConciseDateFormatter(locator))
    finite = levels.waterfall[np.isfinite(levels.waterfall)]
    low, high = np.percentile(finite, (2, 99.8)) if finite.size else (0.0, 1.0)
    mesh = axes.pcolormesh(
        columns, rows, levels.waterfall, cmap="viridis", vmin=low, vmax=max(high, low + 1),
        rasterized=True,
    )  # fmt: skip
    axes.set_facecolor("#f2f2f2")
    axes.invert_yaxis()
    return mesh


def _text(text: str) -> str:
    """Text as it is: a dollar sign would begin mathematics, control characters have no shape."""
    return "".join(c if c.isprintable() else "?" for c in text).replace("$", r"\$")


def _scale(highest: float) -> tuple[float, str]:
    """Hz per unit of the axis, and the unit."""
    for hertz, name in ((3e9, "GHz"), (1e6, "MHz"), (1e3, "kHz")):
        if highest >= hertz:
            return 10.0 ** {"GHz": 9, "MHz": 6, "kHz": 3}[name], name
    return 1.0, "Hz"


def _facts(recording: Recording, spectrum: Spectrum) -> str:
    """One line: when, how many traces, how measured, where."""
    begin = (iso(spectrum.first_ts, 0) or "").replace("T", " ").removesuffix("Z")
    end = (iso(spectrum.last_ts, 0) or "").replace("T", " ").removesuffix("Z")
    if begin[:10] == end[:10]:
        end = end[11:]
    facts = [f"{begin} to {end} UTC"] if begin and end else []
    facts.append(f"{spectrum.n_traces} traces of {spectrum.points} points")
    if spectrum.rbw_hz:
        facts.append(f"RBW {spectrum.rbw_hz / 1000:g} kHz")
    facts += [part for part in (spectrum.processing, spectrum.detector) if part]
    if recording.gps:
        north, east = recording.gps.lat, recording.gps.lon
        facts.append(
            f"{abs(north):.5f}° {'N' if north >= 0 else 'S'} "
            f"{abs(east):.5f}° {'E' if east >= 0 else 'W'}"
        )
    return "  |  ".join(facts)
