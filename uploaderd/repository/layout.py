"""Where files lie in the repository (docs/architecture.md).

    tmp/<host>/…                                fetched, not yet processed
    trash/<host>/<file id>-<name>               could not be processed; `….reason.txt` says why
    <year>/<state>/<county>/<site>/<name>       processed

Whatever a station calls its files, every path made here lies below the root.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from uploaderd import crash_points
from uploaderd.errors import MessageError
from uploaderd.repository import placement

LONGEST_NAME = 200
"""Bytes of a name; Linux file systems take 255, and `.part` and the like need some."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Repository:
    """The repository's root folder, and the places below it."""

    root: Path

    def incoming(self, host_id: int, file_id: str, remote_path: bytes) -> Path:
        """Where a fetched file goes: one place for each version of a file, always the same.

        The file's id stands for the remote folders, so that depth and strange names of them do no
        harm here, and a newer version never takes the place of one that still waits.
        """
        name = component(remote_path.rpartition(b"/")[2].decode("utf-8", "replace"))
        return self.root / "tmp" / str(host_id) / component(file_id) / name

    def release(self, arrived: Path) -> None:
        """Drops a file from `tmp/`, and its folder, once it has its final name; may be repeated."""
        crash_points.reached("tmp-released:before")
        arrived.unlink(missing_ok=True)
        crash_points.reached("tmp-released:after")
        # Another version's transfer may have put something there; then the folder stays.
        with contextlib.suppress(OSError):
            arrived.parent.rmdir()

    def arrived(self, path: str) -> Path:
        """The file that a message names by its path relative to the root.

        Raises:
            MessageError: the path leads out of `tmp/`.
        """
        parts = Path(path).parts
        if len(parts) < 3 or parts[0] != "tmp" or ".." in parts:
            raise MessageError(f"The path {path!r} does not lie in the repository's tmp folder.")
        return self.root / path

    def relative(self, path: Path) -> str:
        """A path of the repository as rows and messages name it."""
        return path.relative_to(self.root).as_posix()

    def to_final(
        self,
        source: Path,
        *,
        year: int | None,
        state: str,
        county: str,
        site: str,
        name: str,
        file_id: str,
    ) -> str:
        """Links a file into its final place; gives the place relative to the root.

        Two different files of one name both survive: the later gets its id into its name.
        Repeating the call changes nothing. The source stays, for the caller to unlink once
        everything is recorded.

        Raises:
            RepositoryError: the disk cannot be written.
        """
        folder = self.root / (str(year) if year else UNKNOWN)
        for part in (state, county, site):
            folder /= component(part or UNKNOWN)
        plain = component(name)
        stem, dot, suffix = plain.rpartition(".")
        distinct = f"{stem}.{file_id}.{suffix}" if dot and stem else f"{plain}.{file_id}"
        return self.relative(placement.link(source, folder / plain, folder / distinct))

    def to_trash(self, source: Path, *, host_id: int, file_id: str, reason: str) -> str:
        """Links a file into the trash, its reason beside it; otherwise as `to_final`.

        Raises:
            RepositoryError: the disk cannot be written.
        """
        place = self.root / "trash" / str(host_id) / f"{file_id}-{component(source.name)}"
        linked = placement.link(source, place, place)
        placement.write_text(place.with_name(f"{place.name}.reason.txt"), f"{reason}\n")
        return self.relative(linked)


def component(name: str) -> str:
    """A name as one safe component of a path: no separator, no control character, not too long."""
    safe = re.sub(r"[\x00-\x1f\x7f/\\]", "_", name).strip()
    if safe.strip(".") == "":
        return UNKNOWN
    encoded = safe.encode("utf-8", "replace")
    if len(encoded) <= LONGEST_NAME:
        return encoded.decode()
    # The end is kept, for the extension's sake; the digest keeps two such names apart.
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return digest + encoded[-(LONGEST_NAME - 8) :].decode("utf-8", "ignore")
