"""Answers of the cookbook as pictures. Needs matplotlib.

A query's header says `-- plot: KIND key=column …`: `heatmap` (x, y, value), `spans` (label, start,
stop), `bars` and `lines` (x, y of one or more columns, label), `profile`, `waterfall`. The `label`
of spans and the `y` of a heatmap may be several columns, whose values stand side by side. Rows of
one bar add up.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uploaderd.catalog.cookbook import Query
from uploaderd.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]

MOST_LABELS = 40
"""Bars or rows that can still be read on one picture."""
MOST_STEPS = 1000
"""Hours or days of a heatmap up to which empty ones are drawn, too."""
_BLUE = "#2471a3"
_ENDS: tuple[tuple[Callable[..., Any], str], ...] = ((min, "start"), (max, "stop"))
_UNITS = {
    "frequency": "frequency, MHz",
    "occupancy": "occupancy, share of the traces",
    "hours": "hours measured",
    "p50_s": "delay, s",
    "available": "share of the contacts that went well",
}
_HERTZ = frozenset({"frequency", "channel", "freq_start", "freq_stop"})


def draw(query: Query, rows: Rows, out: Path) -> None:
    """Draws a query's answer; the ending of `out` (`.png`, `.pdf`, `.svg`) says which kind.

    Raises:
        ConfigError: the query has no picture, there are no rows, or matplotlib is missing.
    """
    kind, *pairs = query.plot.split() or [""]
    if kind not in _KINDS:
        raise ConfigError(f"The query {query.name} has no picture.", hint="Take --csv or --json.")
    if not rows:
        raise ConfigError(f"The query {query.name} gives no rows to draw.")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("Pictures need matplotlib: install uploaderd[plot].") from error
    figure = Figure(figsize=(11.0, 7.0), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(query.answers.split(":")[0].split(".")[0])
    _KINDS[kind](axes, rows, dict(pair.split("=", 1) for pair in pairs))
    with warnings.catch_warnings():
        # Letters that the font lacks are drawn as boxes; nothing is to be done about them.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        try:
            figure.savefig(out)
        except (OSError, ValueError) as error:
            raise ConfigError(f"The picture {out} cannot be written: {error}.") from error


def _heatmap(axes: Axes, rows: Rows, columns: Mapping[str, str]) -> None:
    xs = _without_holes(sorted({row[columns["x"]] for row in rows}))
    groups = columns["y"].split(",")
    ys = sorted({tuple(row[name] for name in groups) for row in rows})
    grid = np.full((len(ys), len(xs)), np.nan)
    places = {y: n for n, y in enumerate(ys)}, {x: n for n, x in enumerate(xs)}
    for row in rows:
        key = tuple(row[name] for name in groups)
        grid[places[0][key], places[1][row[columns["x"]]]] = row[columns["value"]]
    image = axes.imshow(grid, aspect="auto", origin="lower", interpolation="nearest", vmin=0)
    _ticks(axes.set_xticks, [_text(columns["x"], x) for x in xs], 12, rotation=30, ha="right")
    _ticks(axes.set_yticks, [_joined(groups, y) for y in ys], MOST_LABELS)
    axes.set_xlabel(f"{columns['x']}, UTC")
    _figure_of(axes).colorbar(image, label=_axis(columns["value"]))


def _spans(axes: Axes, rows: Rows, columns: Mapping[str, str]) -> None:
    groups = columns["label"].split(",")
    labels = sorted({tuple(row[name] for name in groups) for row in rows})
    for row in rows:
        start, stop = row[columns["start"]], row[columns["stop"]]
        axes.barh(
            labels.index(tuple(row[name] for name in groups)),
            stop - start,
            left=start,
            height=0.8,
            color=_BLUE,
            # However short, it is seen.
            edgecolor=_BLUE,
            linewidth=1.5,
        )
    begin, end = (pick(row[columns[key]] for row in rows) for pick, key in _ENDS)
    margin = max(0.02 * (end - begin), timedelta(minutes=1))
    axes.set_xlim(begin - margin, end + margin)
    axes.xaxis_date()
    _ticks(axes.set_yticks, [_joined(groups, label) for label in labels], MOST_LABELS)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.tick_params(axis="x", rotation=30)
    axes.set_xlabel("time, UTC")


def _without_holes(xs: list[Any]) -> list[Any]:
    """Hours or days with those between them, so that a pause is seen as one."""
    if len(xs) < 3 or not isinstance(xs[0], date):
        return xs
    step = min(later - earlier for earlier, later in pairwise(xs))
    if (xs[-1] - xs[0]) / step > MOST_STEPS:
        return xs
    return [xs[0] + n * step for n in range(round((xs[-1] - xs[0]) / step) + 1)]


def _bars(axes: Axes, rows: Rows, columns: Mapping[str, str]) -> None:
    xs = sorted({row[columns["x"]] for row in rows})
    drawn = _series(rows, columns)
    width = 0.8 / len(drawn)
    for number, (name, points) in enumerate(drawn.items()):
        heights = [points.get(x, 0) for x in xs]
        middles = np.arange(len(xs)) - 0.4 + width * (number + 0.5)
        axes.bar(middles, heights, width, label=name)
    texts = [_text(columns["x"], x) for x in xs]
    _ticks(axes.set_xticks, texts, MOST_LABELS, rotation=30, ha="right")
    _finish(axes, columns, drawn)


def _lines(axes: Axes, rows: Rows, columns: Mapping[str, str]) -> None:
    scale = 1e6 if columns["x"] in _HERTZ else 1
    drawn = _series(rows, columns)
    for name, points in drawn.items():
        xs = sorted(points)
        places = [x / scale if scale != 1 else x for x in xs]
        marker = "." if len(xs) < 50 else None
        axes.plot(places, [points[x] for x in xs], label=name, linewidth=1, marker=marker)
    if not isinstance(next(iter(rows))[columns["x"]], int | float):
        axes.tick_params(axis="x", rotation=30)
    axes.grid(alpha=0.3)
    _finish(axes, columns, drawn, unit=str(rows[0].get("unit", "")))


def _profile(axes: Axes, rows: Rows, _columns: Mapping[str, str]) -> None:
    """The station and unit with the most rows; bands that do not meet are not joined."""
    (station, unit), shown = _most(rows, ("station", "unit"))
    bands = sorted({(row["freq_start"], row["freq_stop"]) for row in shown})
    for number, band in enumerate(bands):
        part = [row for row in shown if (row["freq_start"], row["freq_stop"]) == band]
        megahertz = [row["frequency"] / 1e6 for row in part]
        lowest, highest = ([row[key] for row in part] for key in ("lowest", "highest"))
        axes.fill_between(megahertz, lowest, highest, color=_BLUE, alpha=0.25, linewidth=0)
        for key, color in (("mean", "#1f2d3d"), ("p90", "#c0392b")):
            label = None if number else key
            axes.plot(megahertz, [r[key] for r in part], color=color, linewidth=1, label=label)
    axes.set_title(f"{station}, {len(bands)} bands; shaded: from the lowest to the highest level")
    axes.set_xlabel(_axis("frequency"))
    axes.set_ylabel(f"level, {unit}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _most(rows: Rows, names: Sequence[str]) -> tuple[tuple[Any, ...], Rows]:
    """The most frequent values of these columns, and the rows that have them."""
    keys = [tuple(row[name] for name in names) for row in rows]
    chosen = Counter(keys).most_common(1)[0][0]
    return chosen, [row for row, key in zip(rows, keys, strict=True) if key == chosen]


def _waterfall(axes: Axes, rows: Rows, _columns: Mapping[str, str]) -> None:
    """The station and band with the most recordings; each is as high as it lasted."""
    from matplotlib import dates

    chosen, shown = _most(rows, ("station", "freq_start", "freq_stop", "unit"))
    levels = [level for row in shown for level in row["levels"]]
    low, high = np.nanmin(levels), np.nanmax(levels)
    image = None
    for row in shown:
        edges = np.linspace(row["freq_start"] / 1e6, row["freq_stop"] / 1e6, len(row["levels"]) + 1)
        ends = dates.date2num([row["time_start"], row["time_stop"]])
        ends[1] = max(ends[1], ends[0] + 1 / 86400)
        image = axes.pcolormesh(edges, ends, [row["levels"]], vmin=low, vmax=high)
    axes.yaxis_date()
    axes.invert_yaxis()
    axes.set_title(f"{chosen[0]}, {len(shown)} recordings")
    axes.set_xlabel("frequency, MHz")
    axes.set_ylabel("time, UTC")
    _figure_of(axes).colorbar(image, label=f"level, {chosen[3]}")


def _series(rows: Rows, columns: Mapping[str, str]) -> dict[str, dict[Any, Any]]:
    """Lines or groups of bars by name, each from x to y."""
    ys = columns["y"].split(",")
    label = columns.get("label")
    series: dict[str, dict[Any, Any]] = {}
    for row in rows:
        for y in ys:
            names = ([str(row[label])] if label else []) + ([y] if len(ys) > 1 or not label else [])
            points = series.setdefault(" ".join(names), {})
            points[row[columns["x"]]] = points.get(row[columns["x"]], 0) + row[y]
    return series


def _finish(
    axes: Axes, columns: Mapping[str, str], drawn: Mapping[str, Any], unit: str = ""
) -> None:
    first = columns["y"].split(",")[0]
    axes.set_xlabel(_axis(columns["x"]))
    axes.set_ylabel(f"level, {unit}" if unit else _axis(first))
    if 1 < len(drawn) <= MOST_LABELS:
        axes.legend(fontsize="small")


def _ticks(setter: Callable[..., object], texts: Sequence[str], most: int, **style: Any) -> None:
    step = -(-len(texts) // most)
    setter(range(0, len(texts), step), texts[::step], fontsize="small", **style)


def _joined(names: Sequence[str], values: Sequence[Any]) -> str:
    return " ".join(_text(name, value) for name, value in zip(names, values, strict=True))


def _text(name: str, value: Any) -> str:
    if name in _HERTZ:
        return f"{value / 1e6:g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return value.isoformat() if isinstance(value, date) else str(value)


def _axis(name: str) -> str:
    return _UNITS.get(name, name)


def _figure_of(axes: Axes) -> Any:
    return axes.get_figure()


_KINDS: Mapping[str, Callable[[Axes, Rows, Mapping[str, str]], None]] = {
    "heatmap": _heatmap,
    "spans": _spans,
    "bars": _bars,
    "lines": _lines,
    "profile": _profile,
    "waterfall": _waterfall,
}
