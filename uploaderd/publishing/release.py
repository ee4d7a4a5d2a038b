"""Versions of a published folder: written aside, made durable, swapped in one rename.

    <folder>/
        current -> versions/20261122T201530123456Z
        versions/20261122T201530123456Z/
            manifest.json                          files, rows, SHA-256, digests of the partitions
            spectra/year=2026/month=11/part.parquet
            …

A reader that resolves `current` once sees one version, whole, for as long as it is kept.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from uploaderd.errors import RepositoryError
from uploaderd.repository.placement import sync_folder, unwritable

MANIFEST = "manifest.json"


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


def begin(folder: Path) -> Release:
    """A new, empty version; left-overs of versions that were never finished are removed.

    Raises:
        RepositoryError: the folder cannot be written.
    """
    try:
        for unfinished in (folder / "versions").glob("*"):
            if not (unfinished / MANIFEST).exists():
                shutil.rmtree(unfinished)
        release = Release(folder, datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ"))
        release.path.mkdir(parents=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return release


def current_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest that readers see now; None if nothing was published yet.

    Raises:
        RepositoryError: the manifest cannot be read.
    """
    try:
        text = (folder / "current" / MANIFEST).read_text("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RepositoryError(
            f"{folder}: the manifest cannot be read: {error.strerror}."
        ) from error
    manifest: dict[str, Any] = json.loads(text)
    return manifest


def finish(release: Release, manifest: dict[str, Any], *, keep: int) -> None:
    """Makes the version durable, lets `current` name it, and removes all but `keep` versions.

    Raises:
        RepositoryError: the folder cannot be written.
    """
    try:
        text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
        with (release.path / MANIFEST).open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        for folder, _, _ in os.walk(release.path, topdown=False):
            sync_folder(Path(folder))
        sync_folder(release.path.parent)
        aside = release.folder / f".current.{release.version}"
        aside.symlink_to(Path("versions") / release.version)
        aside.replace(release.folder / "current")
        sync_folder(release.folder)
        for old in sorted((release.folder / "versions").iterdir())[:-keep]:
            shutil.rmtree(old)
    except OSError as error:
        raise unwritable(release.folder, error) from error
