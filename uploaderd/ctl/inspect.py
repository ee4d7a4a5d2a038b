"""`uploaderctl inspect`: what measurement files hold."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import timedelta
from typing import Any

from uploaderd.formats import FormatError, Recording, Spectrum, read
from uploaderd.formats.report import as_dict
from uploaderd.formats.times import iso

SIGMF = (".sigmf-meta", ".sigmf-data")
EPILOG = """examples:
  uploaderctl inspect recording.bin
  uploaderctl inspect --json *.bin *.csv | jq .outcome
  uploaderctl inspect recording.bin --plot band.png --flow 2
  uploaderctl inspect recording.bin --traces levels.parquet
  uploaderctl inspect recording.bin --traces band.sigmf-meta --flow 2

Exit status: 0; 1 if a file could not be read; 2 for wrong arguments."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "inspect",
        help="show what measurement files hold",
        description="Reads measurement files of any known format, and shows what they hold.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="measurement file")
    parser.add_argument("--json", action="store_true", help="one JSON object a line and a file")
    parser.add_argument("--quick", action="store_true", help="metadata only, no level is decoded")
    parser.add_argument(
        "--verify", action="store_true", help="compare the hash of samples, too (SigMF)"
    )
    parser.add_argument("--plot", metavar="OUT.png", help="draw one flow: levels and waterfall")
    parser.add_argument(
        "--flow",
        type=int,
        metavar="N",
        help="which flow to draw or to write as SigMF, from 0 (the one with most levels)",
    )
    parser.add_argument(
        "--traces",
        metavar="OUT",
        help="OUT.parquet: all traces as Parquet; OUT.sigmf-meta: those of one flow as SigMF",
    )
    parser.add_argument(
        "--clock-offset",
        type=float,
        default=0.0,
        metavar="HOURS",
        help="how far the station's clock is ahead of UTC (0)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Shows each file; the status is 1 if one could not be read."""
    if len(arguments.files) > 1 and (arguments.plot or arguments.traces):
        print("uploaderctl inspect: --plot and --traces take one file", file=sys.stderr)
        return 2
    if arguments.traces and not arguments.traces.endswith((".parquet", *SIGMF)):
        print("uploaderctl inspect: --traces ends with .parquet or .sigmf-meta", file=sys.stderr)
        return 2
    if not abs(arguments.clock_offset) <= 48:
        print("uploaderctl inspect: --clock-offset is between -48 and 48 hours", file=sys.stderr)
        return 2
    status = 0
    for name in arguments.files:
        try:
            _show(name, arguments)
        except FormatError as error:
            status = 1
            if arguments.json:
                print(json.dumps(_failure(name, error), ensure_ascii=False))
            else:
                print(f"{name}: {error} [{error.code}]", file=sys.stderr)
    return status


def _show(name: str, arguments: argparse.Namespace) -> None:
    offset = timedelta(hours=arguments.clock_offset)
    recording = read(
        name,
        statistics=not arguments.quick,
        clock_offset=offset,
        verify=arguments.verify,
    )
    if arguments.json:
        print(json.dumps({"file": name, **as_dict(recording)}, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(_lines(name, recording)))
    if arguments.plot:
        from uploaderd.formats.plot import plot_recording

        plot_recording(name, arguments.plot, flow=arguments.flow, clock_offset=offset)
    if arguments.traces:
        _export(name, arguments, offset)


def _export(name: str, arguments: argparse.Namespace, offset: timedelta) -> None:
    if arguments.traces.endswith(SIGMF):
        from uploaderd.formats.sigmf_export import write_sigmf

        write_sigmf(name, arguments.traces, flow=arguments.flow, clock_offset=offset)
    else:
        from uploaderd.formats.export import write_parquet

        write_parquet(name, arguments.traces, clock_offset=offset)


def _failure(name: str, error: FormatError) -> dict[str, Any]:
    return {
        "file": name, "outcome": "error", "error": error.code, "message": error.sentence,
        "format": None, "issues": [], "spectra": [], "n_spectra": 0, "gps": None,
    }  # fmt: skip


def _lines(name: str, recording: Recording) -> list[str]:
    """A file as text: facts, then one row a flow."""
    facts = [
        ("format", " ".join(filter(None, (recording.format, recording.format_version)))),
        ("outcome", recording.outcome),
        ("receiver", _text(recording.receiver)),
        ("method", _text(recording.method)),
        ("position", _position(recording)),
    ]
    lines = [name, *(f"  {label:<9} {value}" for label, value in facts)]
    for issue in recording.issues:
        where = ", ".join(f"{key} {value}" for key, value in issue.where.items())
        lines.append(f"  issue     {issue.kind}" + (f" ({where})" if where else ""))
    if recording.spectra:
        lines += ["", *_table([_row(s) for s in recording.spectra])]
    return [*lines, ""]


def _position(recording: Recording) -> str:
    gps = recording.gps
    if gps is None:
        return "-"
    altitude = "" if gps.alt_m is None else f", {gps.alt_m:.0f} m"
    fixes = "1 fix" if gps.count == 1 else f"{gps.count} fixes"
    return f"{gps.lat:.6f}, {gps.lon:.6f}{altitude} ({fixes}, {gps.source})"


HEADINGS = (
    "ID", "DESCRIPTION", "BAND MHz", "POINTS", "TRACES", "FIRST (UTC)", "LAST (UTC)", "RBW kHz",
    "PROCESSING", "UNIT", "MIN", "P50", "P90", "MAX",
)  # fmt: skip
RIGHT = frozenset({"ID", "POINTS", "TRACES", "RBW kHz", "MIN", "P50", "P90", "MAX"})


def _row(spectrum: Spectrum) -> tuple[str, ...]:
    levels = spectrum.statistics
    figures = (levels.min, levels.p50, levels.p90, levels.max) if levels else ()
    band = "-"
    if spectrum.start_hz is not None and spectrum.stop_hz is not None:
        band = f"{spectrum.start_hz / 1e6:g} - {spectrum.stop_hz / 1e6:g}"
    rbw = "-" if spectrum.rbw_hz is None else f"{spectrum.rbw_hz / 1e3:g}"
    return (
        _text(spectrum.id), _text(spectrum.description)[:40], band, _text(spectrum.points),
        _text(spectrum.n_traces), iso(spectrum.first_ts, 0) or "-",
        iso(spectrum.last_ts, 0) or "-", rbw, _text(spectrum.processing), _text(spectrum.unit),
        *(f"{value:.1f}" for value in figures), *("-" for _ in range(4 - len(figures))),
    )  # fmt: skip


def _text(value: object) -> str:
    """A value for a terminal: control characters of a file never reach it."""
    text = "-" if value is None or value == "" else str(value)
    return "".join(c if c.isprintable() else "?" for c in text)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    columns = list(zip(HEADINGS, *rows, strict=True))
    padded = []
    for column in columns:
        width = max(map(len, column))
        right = column[0] in RIGHT
        padded.append([cell.rjust(width) if right else cell.ljust(width) for cell in column])
    return ["  " + "  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]
