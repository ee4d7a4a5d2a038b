"""SigMF recordings: what was tuned, when and where; the samples are not decoded.

The format is described in docs/formats/sigmf.md. The package is not called `sigmf`, for that is the
name of the library (extra `sigmf`) whose schema validates the metadata.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from uploaderd.formats.errors import MISSING_LIBRARY, FormatError
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.model import ReadOptions, Recording, Spectrum, TraceBlock
from uploaderd.formats.registry import Format
from uploaderd.formats.sigmf_recording.segments import captures_of, position, spectra
from uploaderd.formats.sigmf_recording.source import (
    ARCHIVE,
    COLLECTION,
    DATA,
    META,
    Source,
    sources,
)
from uploaderd.formats.sigmf_recording.values import fraction, text

__all__ = ["FORMAT", "read", "sniff", "traces"]


def sniff(head: bytes, path: Path) -> bool:
    """By the name of a member of the pair; documents by their objects, too."""
    name = path.name.lower()
    if name.endswith(DATA):
        return path.with_suffix(META).is_file()
    if name.endswith(ARCHIVE):
        return head[257:262] == b"ustar"
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    return name.endswith((META, COLLECTION)) or all(
        key in head for key in (b'"global"', b'"captures"', b'"core:datatype"')
    )


def read(path: Path, options: ReadOptions) -> Recording:
    """The recording; one spectrum for each capture segment. Times are UTC by definition.

    Raises FormatError: `invalid_metadata` if the JSON is none or lacks a mandatory key,
    `missing_library` without the extra `sigmf`.
    """
    log = IssueLog()
    members = sources(path, log, verify=options.verify)
    found: list[Spectrum] = []
    for member in members:
        _check(member, log, verify=options.verify)
        found += spectra(member, len(found), log)
    if not members:
        log.add("no_spectrum")
    documents = [member.document for member in members]
    about: Mapping[str, Any] = documents[0]["global"] if documents else {}
    captures = [capture for document in documents for capture in captures_of(document)]
    return Recording(
        format=FORMAT.name,
        format_version=text(about, "core:version"),
        receiver=text(about, "core:hw"),
        method=text(about, "core:recorder"),
        spectra=tuple(found),
        gps=position(documents),
        issues=log.result(),
        time_digits=max((len(fraction(capture)) for capture in captures), default=0),
        extra={
            "author": text(about, "core:author"),
            "license": text(about, "core:license"),
            "sha512": text(about, "core:sha512"),
            "annotations": sum(len(document["annotations"]) for document in documents),
        },
    )


def traces(path: Path, options: ReadOptions) -> Iterator[TraceBlock]:
    """Nothing: SigMF holds samples, not traces."""
    del path, options
    return iter(())


def _check(source: Source, log: IssueLog, *, verify: bool) -> None:
    """Notes what is wrong with a member but does not hinder the catalog."""
    _validate(source.document, log)
    about = source.document["global"]
    if source.data is None:
        if about.get("core:metadata_only") is not True:
            log.add("missing_dataset")
        return
    stated = text(about, "core:sha512")
    if verify and stated and source.data.sha512() != stated.lower():
        log.add("hash_mismatch")


def _validate(document: dict[str, Any], log: IssueLog) -> None:
    """Notes what else the library's schema complains of."""
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


FORMAT = Format(
    name="sigmf",
    title="SigMF recording",
    extensions=(META, DATA, ARCHIVE, COLLECTION),
    sniff=sniff,
    read=read,
    traces=traces,
)
