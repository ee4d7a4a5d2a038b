"""SigMF recordings: what was tuned, when and where; the samples are never read.

The format is described in docs/formats/sigmf.md. The module is not called `sigmf`, for that is the
name of the library (extra `sigmf`) whose schema validates the metadata.
"""

from __future__ import annotations

import json
import math
import re
import tarfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from uploaderd.formats.errors import INVALID_METADATA, MISSING_LIBRARY, UNREADABLE, FormatError
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.model import Position, ReadOptions, Recording, Spectrum, TraceBlock
from uploaderd.formats.positions import median_position
from uploaderd.formats.registry import Format
from uploaderd.formats.times import to_ns

META, DATA, ARCHIVE = ".sigmf-meta", ".sigmf-data", ".sigmf"
MAX_META = 64 << 20
"""Bytes of metadata beyond which a file is refused."""
MAX_SAMPLE = 2**62

_TYPE = re.compile(r"([cr])([fiu])(8|16|32|64)(?:_[lb]e)?")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z", re.ASCII)


@dataclass(frozen=True)
class _Source:
    """The metadata document, and the size of its data in bytes if the data is there."""

    document: dict[str, Any]
    data_size: int | None


def sniff(head: bytes, path: Path) -> bool:
    """By the name of either member of the pair; the metadata by its three top objects, too."""
    name = path.name.lower()
    if name.endswith(DATA):
        return path.with_suffix(META).is_file()
    if name.endswith(ARCHIVE):
        return head[257:262] == b"ustar"
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    return name.endswith(META) or all(
        key in head for key in (b'"global"', b'"captures"', b'"core:datatype"')
    )


def read(path: Path, options: ReadOptions) -> Recording:
    """The recording; one spectrum for each capture segment. Times are UTC by definition.

    Raises FormatError: `invalid_metadata` if the JSON is none or lacks a mandatory key,
    `missing_library` without the extra `sigmf`.
    """
    del options
    log = IssueLog()
    source = _source(path)
    document = source.document
    about = document["global"]
    _validate(document, log)
    metadata_only = about.get("core:metadata_only") is True
    if source.data_size is None and not metadata_only:
        log.add("missing_dataset")
    captures = document["captures"] or [{"core:sample_start": 0}]
    total = _total_samples(about, captures, source.data_size, log)
    starts = [_sample_start(capture) for capture in captures]
    stops = [*starts[1:], total]
    spectra = tuple(
        _spectrum(index, about, capture, start, stop)
        for index, (capture, start, stop) in enumerate(zip(captures, starts, stops, strict=True))
    )
    digits = [len(_fraction(capture)) for capture in captures]
    return Recording(
        format=FORMAT.name,
        format_version=str(about["core:version"]),
        receiver=_text(about, "core:hw"),
        method=_text(about, "core:recorder"),
        spectra=spectra,
        gps=_position(about, captures),
        issues=log.result(),
        time_digits=max(digits),
        extra={
            "author": _text(about, "core:author"),
            "license": _text(about, "core:license"),
            "sha512": _text(about, "core:sha512"),
            "annotations": len(document["annotations"]),
        },
    )


def traces(path: Path, options: ReadOptions) -> Iterator[TraceBlock]:
    """Nothing: SigMF holds samples, not traces."""
    del path, options
    return iter(())


def _source(path: Path) -> _Source:
    name = path.name.lower()
    try:
        if name.endswith(ARCHIVE):
            return _from_archive(path)
        meta = path.with_suffix(META) if name.endswith(DATA) else path
        with meta.open("rb") as file:
            document = _document(file.read(MAX_META + 1))
        return _Source(document, _data_size(meta, document["global"]))
    except OSError as error:
        raise FormatError(UNREADABLE, f"{path.name} cannot be read: {error.strerror}.") from error


def _data_size(meta: Path, about: Mapping[str, Any]) -> int | None:
    dataset = about.get("core:dataset")
    # Only a bare name is a neighbour: a path could name any file of this machine.
    named = isinstance(dataset, str) and dataset not in ("", ".", "..") and "\0" not in dataset
    if named and Path(str(dataset)).name == dataset:
        data = meta.with_name(str(dataset))
    else:
        data = meta.with_suffix(DATA)
    return data.stat().st_size if data.is_file() else None


def _from_archive(path: Path) -> _Source:
    """Reads the first metadata of a tar; nothing is extracted."""
    raw: bytes | None = None
    size: int | None = None
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.isreg() and member.name.endswith(META) and raw is None:
                    file = archive.extractfile(member)
                    raw = file.read(MAX_META + 1) if file else None
                elif member.isreg() and member.name.endswith(DATA) and size is None:
                    size = member.size
    except (tarfile.TarError, ValueError) as error:
        raise FormatError(INVALID_METADATA, f"The archive is damaged: {error}.") from error
    if raw is None:
        raise FormatError(INVALID_METADATA, "The archive holds no metadata.")
    return _Source(_document(raw), size)


def _document(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_META:
        raise FormatError(INVALID_METADATA, f"The metadata is longer than {MAX_META} bytes.")
    try:
        document = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise FormatError(INVALID_METADATA, "The metadata is no JSON.") from error
    shapes = {"global": dict, "captures": list, "annotations": list}
    for key, shape in shapes.items():
        if not isinstance(document, dict) or not isinstance(document.get(key), shape):
            raise FormatError(INVALID_METADATA, f"The metadata lacks {key}.")
    about = document["global"]
    if not isinstance(about.get("core:version"), str):
        raise FormatError(INVALID_METADATA, "The metadata lacks core:version.")
    if not _TYPE.fullmatch(str(about.get("core:datatype"))):
        raise FormatError(INVALID_METADATA, "The metadata lacks a known core:datatype.")
    before = 0
    for capture in document["captures"]:
        start = _sample_start(capture) if isinstance(capture, dict) else -1
        if start < before:
            raise FormatError(INVALID_METADATA, "A capture lacks a rising core:sample_start.")
        before = start
    return dict(document)


def _validate(document: dict[str, Any], log: IssueLog) -> None:
    """Notes what else the library's schema complains of; nothing of it hinders the catalog."""
    try:
        import jsonschema
        import sigmf.validate
    except ImportError as error:
        raise FormatError(
            MISSING_LIBRARY, "SigMF needs the Python package sigmf (extra `sigmf`)."
        ) from error
    try:
        with warnings.catch_warnings():
            # Undeclared namespaces are legal, and no reader's business.
            warnings.simplefilter("ignore", DeprecationWarning)
            sigmf.validate.validate(document)
    except jsonschema.ValidationError as error:
        log.add("invalid_metadata", path=error.json_path[:200])
    except (AttributeError, KeyError, TypeError):
        # The library goes on to compare keys that the schema does not make mandatory.
        log.add("invalid_metadata", path="$")


def _sample_start(capture: Mapping[str, Any]) -> int:
    return _natural(capture, "core:sample_start", -1)


def _natural(about: Mapping[str, Any], key: str, default: int) -> int:
    value = about.get(key, default)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return int(value) if whole and 0 <= value < MAX_SAMPLE else default


def _number(about: Mapping[str, Any], key: str) -> float | None:
    value = about.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 1e15 else None


def _text(about: Mapping[str, Any], key: str) -> str | None:
    value = about.get(key)
    return value if isinstance(value, str) and value else None


def _total_samples(
    about: Mapping[str, Any], captures: list[dict[str, Any]], size: int | None, log: IssueLog
) -> int | None:
    if size is None:
        return None
    match = _TYPE.fullmatch(about["core:datatype"])
    assert match is not None, "checked when the document was read"
    channels = max(1, _natural(about, "core:num_channels", 1))
    width = int(match[3]) // 8 * (2 if match[1] == "c" else 1) * channels
    other = sum(_natural(capture, "core:header_bytes", 0) for capture in captures)
    payload = max(0, size - other - _natural(about, "core:trailing_bytes", 0))
    if payload % width:
        log.add("truncated", bytes=payload % width)
    return payload // width + _natural(about, "core:offset", 0)


def _fraction(capture: Mapping[str, Any]) -> str:
    match = _TIME.fullmatch(str(capture.get("core:datetime")))
    return (match[2] or "")[:9] if match else ""


def _time(capture: Mapping[str, Any]) -> int | None:
    match = _TIME.fullmatch(str(capture.get("core:datetime")))
    if not match:
        return None
    try:
        when = datetime.fromisoformat(match[1])
    except ValueError:
        return None
    fraction = int(_fraction(capture).ljust(9, "0"))
    ns = to_ns(when, fraction)
    return ns if abs(ns) < MAX_SAMPLE else None


def _spectrum(
    index: int, about: Mapping[str, Any], capture: Mapping[str, Any], start: int, stop: int | None
) -> Spectrum:
    rate = _number(about, "core:sample_rate")
    rate = rate if rate is not None and rate > 0 else None
    centre = _number(capture, "core:frequency")
    samples = max(0, stop - start) if stop is not None else None
    first = _time(capture)
    last = None
    if first is not None and samples is not None and rate and samples / rate < 1e9:
        last = first + timedelta(seconds=samples / rate) // timedelta(microseconds=1) * 1000
    banded = about["core:datatype"].startswith("c") and centre is not None and rate is not None
    return Spectrum(
        id=index,
        description=_text(about, "core:description"),
        start_hz=math.floor(centre - rate / 2 + 0.5) if banded and centre and rate else None,
        stop_hz=math.floor(centre + rate / 2 + 0.5) if banded and centre and rate else None,
        points=None,
        n_traces=None,
        first_ts=first,
        last_ts=last,
        extra={
            "center_hz": centre,
            "sample_rate_hz": rate,
            "datatype": about["core:datatype"],
            "n_samples": samples,
        },
    )


def _position(about: Mapping[str, Any], captures: list[dict[str, Any]]) -> Position | None:
    fixes = [fix for capture in captures if (fix := _fix(capture))]
    source = "records" if fixes else "header"
    fixes = fixes or [fix for fix in [_fix(about)] if fix]
    if not fixes:
        return None
    lons, lats, alts = zip(*fixes, strict=True)
    known = None not in alts
    return median_position(lats, lons, alts if known else None, source=source)


def _fix(place: Mapping[str, Any]) -> tuple[float, float, float | None] | None:
    point = place.get("core:geolocation")
    numbers = point.get("coordinates") if isinstance(point, dict) else None
    if not isinstance(numbers, list) or len(numbers) < 2:
        return None
    if not all(type(n) in (int, float) and abs(n) < 1e6 for n in numbers):
        return None
    return numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else None


FORMAT = Format(
    name="sigmf",
    title="SigMF recording",
    extensions=(META, DATA, ARCHIVE),
    sniff=sniff,
    read=read,
    traces=traces,
)
