"""The repository against the catalog: both are walked in the order of their paths, side by side.

While uploaderd works, a file may move between the look at one side and the other: whatever
looks wrong is looked at again before it is told, and young files are left alone.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uploaderd.catalog.client import Catalog
from uploaderd.errors import RepositoryError

KINDS = ("missing", "changed", "dark", "duplicated", "incomplete")
PAGE = 50_000
"""Rows of the catalog that are asked for at a time."""
SHARE = 1_000_000
"""Files whose spectra are counted at a time: some hundred megabytes in the database."""
REASON = ".reason.txt"
_PARTS = "splitByChar('/', path)"
_COLUMNS = "host_id, file_id, path, size, sha256, stage"


@dataclass(frozen=True)
class Finding:
    """Something in which repository and catalog differ.

    `missing`: the catalog names a file that is not there; `changed`: it has another size or
    content; `dark`: a file that the catalog does not know; `duplicated`: one content as several
    files, of which this is not the first; `incomplete`: the catalog has fewer spectra of a file
    than were found in it.
    """

    kind: str
    path: str
    """Below the repository."""
    text: str
    size: int = 0
    sha256: str = ""
    """Of the content that the catalog tells of, if it does."""
    host_id: int = 0
    file_id: str = ""
    """Of the catalog's row; empty for a dark file."""
    other: str = ""
    """For a duplicate, the path of the first copy."""


@dataclass
class Comparison:
    """What was compared, and what was found."""

    files: int = 0
    rows: int = 0
    findings: list[Finding] = field(default_factory=list)


def compare(
    catalog: Catalog, root: Path, *, content: bool = False, min_age_s: float = 600.0
) -> Comparison:
    """Compares the repository with the catalog; changes nothing.

    Args:
        catalog: the record.
        root: the repository.
        content: read every file and compare its hash, too; otherwise its size counts.
        min_age_s: files that came into their folder later than this ago are not called dark.

    Raises:
        RepositoryError: the repository is not there, or is empty though the catalog names files in
            it: it is not mounted.
        CatalogError: the database cannot be reached.
    """
    if not root.is_dir():
        raise RepositoryError(f"The repository {root} is not there.", hint="Is it mounted?")
    result = Comparison()
    latest = time.time() - min_age_s
    suspects = list(_differences(catalog, root, result, content=content, latest=latest))
    if result.rows and not result.files:
        raise RepositoryError(
            f"The repository {root} holds no file, but the catalog names {result.rows} in it.",
            hint="Is it mounted?",
        )
    result.findings = [
        *_confirmed(catalog, root, suspects),
        *_duplicated(catalog, root),
        *_incomplete(catalog, root, result.rows),
    ]
    return result


def files(root: Path) -> Iterator[str]:
    """Paths of the repository's files below its root, in the order of their parts' bytes.

    Left out are hidden files, transfers under way, and the reasons beside files in the trash.
    """
    yield from _walk(root, "")


def digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _walk(folder: Path, before: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    for entry in found:
        path = before + entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{path}/")
        elif not (
            (before.startswith("tmp/") and ".part" in entry.name)
            or (before.startswith("trash/") and entry.name.endswith(REASON))
        ):
            yield path


def _rows(catalog: Catalog) -> Iterator[dict[str, Any]]:
    """Rows of files that have a path, in the same order as `files`."""
    last: list[str] = []
    while True:
        page = catalog.query(
            f"SELECT {_COLUMNS} FROM files_now WHERE path != '' AND {_PARTS} > %(last)s"
            f" ORDER BY {_PARTS} LIMIT %(page)s WITH TIES",
            {"last": last or [""], "page": PAGE},
        )
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1]["path"].split("/")


def _differences(
    catalog: Catalog, root: Path, result: Comparison, *, content: bool, latest: float
) -> Iterator[Finding]:
    on_disk = files(root)
    path = next(on_disk, None)
    seen: str | None = None
    for row in _rows(catalog):
        result.rows += 1
        wanted = _key(row["path"])
        while path is not None and _key(path) < wanted:
            if path != seen:
                yield from _dark(root, path, latest)
            result.files += 1
            path = next(on_disk, None)
        if path == row["path"]:
            seen = path
            yield from _changed(root, row, content=content)
        elif row["path"] != seen:
            yield _finding("missing", row, "the file is not there")
    while path is not None:
        if path != seen:
            yield from _dark(root, path, latest)
        result.files += 1
        path = next(on_disk, None)


def _key(path: str) -> list[bytes]:
    return os.fsencode(path).split(b"/")


def _finding(kind: str, row: dict[str, Any], text: str, other: str = "") -> Finding:
    names = ("path", "size", "sha256", "host_id", "file_id")
    return Finding(kind, text=text, other=other, **{name: row[name] for name in names})


def _dark(root: Path, path: str, latest: float) -> Iterator[Finding]:
    try:
        found = (root / path).lstat()
    except FileNotFoundError:
        return
    if found.st_ctime <= latest:
        yield Finding("dark", path, "the catalog does not know the file", found.st_size)


def _changed(root: Path, row: dict[str, Any], *, content: bool) -> Iterator[Finding]:
    place = root / row["path"]
    try:
        size = place.stat().st_size
        if size != row["size"]:
            yield _finding("changed", row, f"it has {size} bytes instead of {row['size']}")
        elif content and row["sha256"] and digest(place) != row["sha256"]:
            yield _finding("changed", row, "its content is another one")
    except FileNotFoundError:
        yield _finding("missing", row, "the file is not there")
    except OSError as error:
        yield _finding("changed", row, f"it cannot be read: {error.strerror}")


def _confirmed(catalog: Catalog, root: Path, suspects: Sequence[Finding]) -> Iterator[Finding]:
    """Those that are still so: nobody has moved, settled or recorded the file meanwhile."""
    for start in range(0, len(suspects), 1000):
        some = suspects[start : start + 1000]
        paths = tuple({one.path for one in some})
        ids = tuple({one.file_id for one in some if one.file_id}) or ("",)
        rows = catalog.query(
            "SELECT host_id, file_id, path FROM files_now"
            " WHERE path IN %(paths)s OR file_id IN %(ids)s",
            {"paths": paths, "ids": ids},
        )
        named = {row["path"] for row in rows}
        places = {(row["host_id"], row["file_id"]): row["path"] for row in rows}
        for one in some:
            there = (root / one.path).is_file()
            if one.kind == "dark":
                if there and one.path not in named:
                    yield one
            elif places.get((one.host_id, one.file_id)) == one.path and (
                there == (one.kind == "changed")
            ):
                yield one


def _duplicated(catalog: Catalog, root: Path) -> Iterator[Finding]:
    """Rows whose content lies in the final tree as another file, too, that is not the same one."""
    rows = catalog.query(
        f"SELECT {_COLUMNS}, min(path) OVER (PARTITION BY sha256) AS first FROM files_now"
        " WHERE stage = 'processed' AND sha256 IN (SELECT sha256 FROM files_now"
        " WHERE stage = 'processed' AND sha256 != '' GROUP BY sha256 HAVING uniqExact(path) > 1)"
        " ORDER BY path"
    )
    for row in rows:
        one, first = root / row["path"], root / row["first"]
        if one.is_file() and first.is_file() and not one.samefile(first):
            text = f"the same content as {row['first']}"
            yield _finding("duplicated", row, text, other=row["first"])


def _incomplete(catalog: Catalog, root: Path, rows: int) -> Iterator[Finding]:
    """Rows of files whose spectra are not all there; the row comes after them, so they must be."""
    shares = 1 + rows // SHARE
    for share in range(shares):
        found = catalog.query(
            f"SELECT {_COLUMNS}, spectra, there FROM files_now GLOBAL ANY LEFT JOIN ("
            " SELECT cityHash64(sha256) AS content, uniqExact(spectrum_id) AS there FROM spectra"
            " WHERE content %% %(shares)s = %(share)s GROUP BY content"
            ") AS kept ON kept.content = cityHash64(files_now.sha256)"
            " WHERE stage = 'processed' AND spectra > there"
            " AND cityHash64(files_now.sha256) %% %(shares)s = %(share)s ORDER BY path",
            {"shares": shares, "share": share},
        )
        for row in found:
            if (root / row["path"]).is_file():
                text = f"the catalog has {row['there']} of its {row['spectra']} spectra"
                yield _finding("incomplete", row, text)
