"""Where a SigMF recording's document and data lie: a pair, a tar of both, or a collection.

The data is never read but for its hash, and only if the caller asks to verify it. Nothing of an
archive is extracted, and no name in a document leads out of its folder.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from uploaderd.formats.errors import INVALID_METADATA, UNREADABLE, FormatError
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.sigmf_recording.values import DATATYPE, sample_start

META, DATA, ARCHIVE, COLLECTION = ".sigmf-meta", ".sigmf-data", ".sigmf", ".sigmf-collection"
MAX_META = 64 << 20
"""Bytes of metadata beyond which a file is refused."""
MAX_STREAMS = 10_000
"""Recordings that a collection may name."""


@dataclass(frozen=True)
class Data:
    """The samples of a recording: their size in bytes, and how to get their SHA-512 in hex."""

    size: int
    sha512: Callable[[], str]


@dataclass(frozen=True)
class Source:
    """A recording's metadata document, and its data if it is there."""

    document: dict[str, Any]
    data: Data | None


def sources(path: Path, log: IssueLog, *, verify: bool) -> list[Source]:
    """The recordings that a file of any of the four kinds names.

    `verify`: compare the hashes by which a collection names its recordings.
    Raises FormatError: `unreadable`, `invalid_metadata`.
    """
    name = path.name.lower()
    try:
        if name.endswith(COLLECTION):
            return _from_collection(path, log, verify=verify)
        if name.endswith(ARCHIVE):
            return [_from_archive(path)]
        return [_from_pair(path.with_suffix(META) if name.endswith(DATA) else path)]
    except OSError as error:
        raise FormatError(UNREADABLE, f"{path.name} cannot be read: {error.strerror}.") from error


def _from_pair(meta: Path) -> Source:
    with meta.open("rb") as file:
        document = _document(file.read(MAX_META + 1))
    data = _neighbour(meta, document["global"].get("core:dataset")) or meta.with_suffix(DATA)
    if not data.is_file():
        return Source(document, None)
    return Source(document, Data(data.stat().st_size, partial(_file_hash, data)))


def _neighbour(of: Path, name: object) -> Path | None:
    """The file of a name in the same folder; only a bare name, for a path could lead anywhere."""
    if not isinstance(name, str) or name in ("", ".", "..") or "\0" in name:
        return None
    return of.with_name(name) if Path(name).name == name else None


def _from_collection(path: Path, log: IssueLog, *, verify: bool) -> list[Source]:
    """The recordings of `core:streams` that lie beside it; the others are noted."""
    with path.open("rb") as file:
        about = _json(file.read(MAX_META + 1)).get("collection")
    streams = about.get("core:streams") if isinstance(about, dict) else None
    if not isinstance(streams, list) or len(streams) > MAX_STREAMS:
        raise FormatError(INVALID_METADATA, "The collection lacks a sound list core:streams.")
    found = []
    for index, stream in enumerate(streams):
        name = stream.get("name") if isinstance(stream, dict) else None
        meta = _neighbour(path, f"{name}{META}") if isinstance(name, str) and name else None
        if meta is None or not meta.is_file():
            log.add("missing_stream", stream=index)
            continue
        try:
            found.append(_from_pair(meta))
        except FormatError as error:
            log.add("bad_stream", stream=index, error=error.code)
            continue
        if verify and str(stream.get("hash")).lower() != _file_hash(meta):
            log.add("hash_mismatch", stream=index)
    return found


def _from_archive(path: Path) -> Source:
    """The first recording of a tar."""
    raw: bytes | None = None
    data: Data | None = None
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.isreg() and member.name.endswith(META) and raw is None:
                    file = archive.extractfile(member)
                    raw = file.read(MAX_META + 1) if file else None
                elif member.isreg() and member.name.endswith(DATA) and data is None:
                    hashed = partial(_file_hash, path, member.offset_data, member.size)
                    data = Data(member.size, hashed)
    except (tarfile.TarError, ValueError) as error:
        raise FormatError(INVALID_METADATA, f"The archive is damaged: {error}.") from error
    if raw is None:
        raise FormatError(INVALID_METADATA, "The archive holds no metadata.")
    return Source(_document(raw), data)


def _file_hash(path: Path, start: int = 0, size: int | None = None) -> str:
    """SHA-512 in hex of `size` bytes of a file from `start` on, of all that follow without it."""
    digest = hashlib.sha512()
    with path.open("rb") as file:
        file.seek(start)
        left = size if size is not None else path.stat().st_size
        while left > 0 and (piece := file.read(min(left, 1 << 20))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def _json(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_META:
        raise FormatError(INVALID_METADATA, f"The metadata is longer than {MAX_META} bytes.")
    try:
        document = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise FormatError(INVALID_METADATA, "The metadata is no JSON.") from error
    if not isinstance(document, dict):
        raise FormatError(INVALID_METADATA, "The metadata is no JSON object.")
    return document


def _document(raw: bytes) -> dict[str, Any]:
    """The parsed metadata, with all that the catalog cannot do without."""
    document = _json(raw)
    for key, shape in {"global": dict, "captures": list, "annotations": list}.items():
        if not isinstance(document.get(key), shape):
            raise FormatError(INVALID_METADATA, f"The metadata lacks {key}.")
    about = document["global"]
    if not isinstance(about.get("core:version"), str):
        raise FormatError(INVALID_METADATA, "The metadata lacks core:version.")
    if not DATATYPE.fullmatch(str(about.get("core:datatype"))):
        raise FormatError(INVALID_METADATA, "The metadata lacks a known core:datatype.")
    before = 0
    for capture in document["captures"]:
        start = sample_start(capture) if isinstance(capture, dict) else -1
        if start < before:
            raise FormatError(INVALID_METADATA, "A capture lacks a rising core:sample_start.")
        before = start
    return document
