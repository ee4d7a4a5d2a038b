"""Mending what `server.compare` found. Nothing is deleted that is not somewhere else, too.

missing     the content lies elsewhere in the repository: it is linked back into its place. It does
            not: the row becomes a failed one with the code `missing`, so that the next discovery
            of the station brings the file again.
changed     the file goes to the trash with its reason; then as missing.
dark        its content is missing elsewhere: it is linked there, and this name goes. It is known
            in another place: this copy goes to the trash. It is new: it is loaded.
duplicated  after a comparison byte by byte, the copy becomes a second name of the first file.
incomplete  the file is read again, and all of its spectra are recorded.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from uploaderd import clock
from uploaderd.catalog import files
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.rows import EPOCH, FileRow
from uploaderd.durable import sync_folder
from uploaderd.errors import RepositoryError, UploaderError
from uploaderd.formats import FormatError
from uploaderd.maintenance.server import Finding, digest
from uploaderd.repository import placement
from uploaderd.services import loading
from uploaderd.services.filing import Arrived, Filing

ORDER = ("dark", "changed", "missing", "duplicated", "incomplete")
"""A dark file may be what is missing; what has changed is missing afterwards."""


class TooMuch(UploaderError):
    """More is wrong than a repair may change."""

    code = "repair_limit"


@dataclass(frozen=True)
class Repaired:
    """What was done about a finding."""

    finding: Finding
    done: str


def repair(filing: Filing, findings: Sequence[Finding], *, limit: int) -> Iterator[Repaired]:
    """Mends the findings, one by one, each durable before the next.

    Raises:
        TooMuch: there are more than `limit`: nothing is changed. So much does not go wrong by
            itself; something is not mounted, or the database is another one.
        RepositoryError: the disk cannot be written.
        CatalogError: the database cannot be reached.
    """
    if len(findings) > limit:
        raise TooMuch(
            f"{len(findings)} findings are more than the {limit} that may be repaired at a time.",
            hint="Look at them first; --limit allows more.",
        )
    hands = {
        "dark": _dark,
        "changed": _changed,
        "missing": _missing,
        "duplicated": _duplicated,
        "incomplete": _incomplete,
    }
    for kind in ORDER:
        for finding in findings:
            if finding.kind == kind:
                try:
                    done = hands[kind](filing, finding)
                except OSError as error:
                    place = filing.repository.root / finding.path
                    raise placement.unwritable(place, error) from error
                yield Repaired(finding, done)


def _missing(filing: Filing, finding: Finding) -> str:
    root = filing.repository.root
    place = root / finding.path
    if place.exists():
        return "it is there again"
    for other in _places(filing.catalog, finding.sha256):
        twin = root / other
        if other != finding.path and twin.is_file() and digest(twin) == finding.sha256:
            placement.link(twin, place, place)
            return f"linked back from {other}"
    return _forgotten(filing.catalog, finding)


def _forgotten(catalog: Catalog, finding: Finding) -> str:
    """The row of a file that was settled becomes one of a file that is still to be had.

    A file's way goes only forward, by its rows' versions: the settled ones have to go first.
    """
    before = files.whole(catalog, finding.host_id, finding.file_id)
    if before is None:
        return "the catalog does not know it any more"
    if before.stage == "trashed":
        catalog.insert("files", [replace(before, path="")])
        return "its row says that the trash has it no more"
    text = f"{finding.path} was in the repository, and is not: {finding.text}."
    row = replace(
        before, stage="failed", path="", error_code="missing", error_text=text, processed_at=EPOCH
    )
    catalog.query(
        "ALTER TABLE files DELETE WHERE host_id = %(host_id)s AND file_id = %(file_id)s"
        " SETTINGS mutations_sync = 2",
        {"host_id": finding.host_id, "file_id": finding.file_id},
    )
    catalog.insert("files", [row])
    return "its row says missing; the next discovery of the station brings it again"


def _changed(filing: Filing, finding: Finding) -> str:
    aside = _aside(filing, finding, "changed", finding.text)
    return f"put aside as {aside}; {_missing(filing, finding)}"


def _dark(filing: Filing, finding: Finding) -> str:
    root = filing.repository.root
    path = root / finding.path
    if finding.path.startswith("trash/"):
        return "left in the trash"
    sha256 = digest(path)
    for other in _places(filing.catalog, sha256):
        place = root / other
        if place.is_file():
            aside = _aside(filing, finding, "copy", f"A copy of {other}.")
            return f"a copy of {other}: put aside as {aside}"
        placement.link(path, place, place)
        _drop(path)
        return f"moved back to {other}"
    loaded = next(iter(loading.load([path], filing, loading.Host(), link=True, workers=1)))
    if loaded.outcome not in ("processed", "trashed"):
        return f"left: {loaded.outcome} {loaded.text}".strip()
    if root / loaded.place != path:
        _drop(path)
    return f"{loaded.outcome} as {loaded.place}"


def _duplicated(filing: Filing, finding: Finding) -> str:
    root = filing.repository.root
    one, first = root / finding.path, root / finding.other
    if not filecmp.cmp(one, first, shallow=False):
        raise RepositoryError(
            f"{finding.path} and {finding.other} are not the same after all.",
            hint="Run `uploaderctl refresh server --content`.",
        )
    aside = one.with_name(f".{one.name}.{os.getpid()}")
    os.link(first, aside)
    aside.replace(one)
    sync_folder(one.parent)
    return f"a second name of {finding.other} now"


def _incomplete(filing: Filing, finding: Finding) -> str:
    path = filing.repository.root / finding.path
    row = files.whole(filing.catalog, finding.host_id, finding.file_id)
    if row is None or row.path != finding.path or digest(path) != row.sha256:
        return "left: the file is another one by now"
    try:
        return f"{filing.record_again(Arrived(path, row))} spectra recorded"
    except FormatError as error:
        return f"left: {error}"


def _aside(filing: Filing, finding: Finding, code: str, text: str) -> str:
    """Puts a file into the trash, with a row of its own that says why."""
    path = filing.repository.root / finding.path
    sha256 = digest(path)
    # The content's hash in the id: two such files of one name both survive.
    name = hashlib.sha256(os.fsencode(finding.path) + sha256.encode()).hexdigest()[:32]
    row = FileRow(
        host_id=finding.host_id,
        file_id=name,
        remote_path=finding.path,
        size=path.stat().st_size,
        mtime_ns=path.stat().st_mtime_ns,
        stage="trashed",
        sha256=sha256,
        error_code=code,
        error_text=text,
        processed_at=clock.now(),
    )
    reason = f"{code}: {text} (was {finding.path})"
    aside = filing.repository.to_trash(path, host_id=finding.host_id, file_id=name, reason=reason)
    filing.catalog.insert("files", [replace(row, path=aside)])
    _drop(path)
    return aside


def _drop(path: Path) -> None:
    """Takes away a name of a file that has another one by now."""
    path.unlink()
    sync_folder(path.parent)


def _places(catalog: Catalog, sha256: str) -> list[str]:
    """Where the catalog says that the content lies."""
    rows: list[dict[str, Any]] = catalog.query(
        "SELECT DISTINCT path FROM files_now WHERE sha256 = %(sha256)s AND path != ''"
        " AND sha256 != '' AND NOT startsWith(path, 'trash/') ORDER BY path",
        {"sha256": sha256},
    )
    return [row["path"] for row in rows]
