"""Versions of a published folder: written aside, made durable, swapped in one rename.

    <folder>/
        .lock                                      held by who writes
        .seen                                      what the database held when it was last asked
        current -> versions/20261122T201530123456Z
        versions/20261122T201530123456Z/
            manifest.json                          files, rows, SHA-256, digests of the partitions
            spectra/year=2026/month=11/part.parquet
            …

A reader that resolves `current` once sees one version, whole, for as long as it is kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from uploaderd import clock, crash_points
from uploaderd.durable import sync_folder
from uploaderd.errors import RepositoryError
from uploaderd.repository.placement import unwritable, write_text

MANIFEST = "manifest.json"
SEEN = ".seen"
JOURNAL = ".written"
"""Lists the finished files of a version that is being written: `uploaderd.publishing.resume`."""


class Busy(RepositoryError):
    """Another publication writes to the folder."""

    code = "publication_under_way"


@dataclass(frozen=True)
class Release:
    """One version that is being written, not yet seen by readers."""

    folder: Path
    """The published folder."""
    version: str

    @property
    def path(self) -> Path:
        """Where this version's files go."""
        return self.folder / "versions" / self.version


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps every other writer away from the folder, which is made if it is missing.

    The lock ends with the process that holds it, however that ends.

    Raises:
        Busy: somebody else writes.
        RepositoryError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(
                f"{folder}: another publication is under way.", hint="Wait until it is done."
            ) from error
        except OSError as error:
            raise unwritable(folder, error) from error
        yield
    finally:
        os.close(handle)


def require_room(folder: Path, floor_bytes: int) -> None:
    """Refuses to write to a disk that is nearly full.

    Raises:
        RepositoryError: less than `floor_bytes` are free, or the disk does not answer.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise unwritable(folder, error) from error
    if free < floor_bytes:
        raise RepositoryError(
            f"{folder}: only {free / 1e6:.0f} MB are free on its disk, and publishing leaves"
            f" {floor_bytes / 1e6:.0f} MB.",
            hint="Make room, or lower `free_space_floor_mb` or `keep_versions`.",
        )


def begin(folder: Path) -> Release:
    """A new version: empty, or with the files of the last one that was never finished.

    Raises:
        RepositoryError: the folder cannot be written.
    """
    try:
        kept = sorted((folder / "versions").glob("*"))
        unfinished = [path for path in kept if not (path / MANIFEST).exists()]
        for old in unfinished[:-1]:
            shutil.rmtree(old)
        release = Release(folder, clock.now().strftime("%Y%m%dT%H%M%S%fZ"))
        if unfinished:
            unfinished[-1].rename(release.path)
        else:
            release.path.mkdir(parents=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return release


def abandon(release: Release) -> None:
    """Removes a version that will not be finished; what cannot be removed, the next run removes."""
    if (release.folder / "current").resolve() == release.path.resolve():
        return
    shutil.rmtree(release.path, ignore_errors=True)


def current_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest that readers see now; None if nothing was published yet.

    Raises:
        RepositoryError: the manifest cannot be read.
    """
    return _manifest(folder / "current")


def versions(folder: Path) -> list[dict[str, Any]]:
    """The manifests of all versions that are kept, oldest first; damaged ones are left out."""
    found = []
    for path in sorted((folder / "versions").glob("*")):
        with suppress(RepositoryError):
            found.append(_manifest(path))
    return [manifest for manifest in found if manifest is not None]


def current_version(folder: Path) -> str | None:
    """The version that `current` names, be it sound or not; None if nothing was published yet."""
    current = folder / "current"
    return current.readlink().name if current.is_symlink() else None


def roll_back(folder: Path, version: str | None = None) -> str:
    """Lets `current` name an older version: by default, the one before the current one.

    It holds until the next publication.

    Returns:
        The version that is current now.

    Raises:
        RepositoryError: there is no such version, or the folder cannot be written.
    """
    now = current_version(folder)
    kept = [manifest["version"] for manifest in versions(folder)]
    older = [name for name in kept if now is not None and name < now]
    target = version or (older[-1] if older else None)
    if target is None or target not in kept:
        raise RepositoryError(
            f"{folder}: there is no version {version or 'before the current one'}.",
            hint=f"Kept are: {', '.join(kept) or 'none'}.",
        )
    try:
        _swap(Release(folder, target))
    except OSError as error:
        raise unwritable(folder, error) from error
    return target


def verify(folder: Path, version: str, rows_of: Callable[[Path], int]) -> Iterator[str]:
    """Compares a version's files with its manifest: one sentence for each thing that is wrong.

    `rows_of` counts the rows of a file. Raises RepositoryError if there is no such version.
    """
    root = folder / "versions" / version
    manifest = _manifest(root)
    if manifest is None:
        raise RepositoryError(f"{folder}: there is no version {version}.")
    for name, entry in sorted(manifest["files"].items()):
        try:
            with (root / name).open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            yield f"{name} cannot be read: {error.strerror}"
            continue
        if sha256 != entry["sha256"]:
            yield f"{name} is not what was written: its SHA-256 is {sha256}"
        elif (rows := rows_of(root / name)) != entry["rows"]:
            yield f"{name} holds {rows} rows, not {entry['rows']}"
    known = {*manifest["files"], MANIFEST}
    for path in sorted(root.rglob("*")):
        if path.is_file() and str(path.relative_to(root)) not in known:
            yield f"{path.relative_to(root)} is not in the manifest"


def finish(
    release: Release, manifest: dict[str, Any], *, keep: int, keep_for_s: float = 0.0
) -> None:
    """Makes the version durable, lets `current` name it, and removes old versions.

    The newest `keep` stay, and those that were current within the last `keep_for_s` seconds:
    somebody may still read them.

    Raises:
        RepositoryError: the folder cannot be written.
    """
    try:
        text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
        crash_points.reached("manifest:before")
        (release.path / JOURNAL).unlink(missing_ok=True)
        write_text(release.path / MANIFEST, text)
        for folder, _, _ in os.walk(release.path, topdown=False):
            sync_folder(Path(folder))
        sync_folder(release.path.parent)
        crash_points.reached("manifest:after")
        _swap(release)
        for old in _outlived(release.folder, keep, clock.now().timestamp() - keep_for_s):
            if not (keep_for_s and old.name == manifest.get("previous")):
                # First its manifest: a version that is half removed is none.
                (old / MANIFEST).unlink()
                shutil.rmtree(old)
    except OSError as error:
        raise unwritable(release.folder, error) from error


def _outlived(folder: Path, keep: int, before: float) -> Iterator[Path]:
    """Versions but the newest, whose successors were finished before that (Unix seconds)."""
    kept = sorted((folder / "versions").iterdir())
    for old, successor in pairwise(kept[: len(kept) - keep + 1]):
        if (successor / MANIFEST).stat().st_mtime <= before:
            yield old


def seen(folder: Path) -> dict[str, dict[str, str]]:
    """The watermarks that `note_seen` noted of the version that is current; else none."""
    try:
        noted = json.loads((folder / SEEN).read_text("utf-8"))
        current = (folder / "current").readlink()
    except (FileNotFoundError, ValueError):
        return {}
    except OSError as error:
        raise unwritable(folder, error) from error
    return dict(noted["watermarks"]) if current.name == noted["version"] else {}


def note_seen(folder: Path, version: str, watermarks: Mapping[str, Mapping[str, str]]) -> None:
    """Notes what the database held when it was found that it holds what the version does.

    It may get lost: then everything is looked at again. Raises RepositoryError if the folder cannot
    be written.
    """
    try:
        aside = folder / f"{SEEN}.new"
        aside.write_text(json.dumps({"version": version, "watermarks": watermarks}), "utf-8")
        aside.replace(folder / SEEN)
    except OSError as error:
        raise unwritable(folder, error) from error


def _swap(release: Release) -> None:
    """Lets `current` name the version, in one rename. Raises OSError."""
    aside = release.folder / ".current"
    aside.unlink(missing_ok=True)
    aside.symlink_to(Path("versions") / release.version)
    crash_points.reached("current-version:before")
    aside.replace(release.folder / "current")
    sync_folder(release.folder)
    crash_points.reached("current-version:after")


def _manifest(root: Path) -> dict[str, Any] | None:
    """A version's manifest; None if it has none."""
    try:
        manifest: dict[str, Any] = json.loads((root / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RepositoryError(f"{root}: the manifest cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise RepositoryError(
            f"{root}: the manifest is damaged: {error}.",
            hint="Make a sound version current: `uploaderctl publish list` and `rollback`.",
        ) from error
    return manifest
