"""Measurement files that travel with the rows: those that an export's rows call processed.

A file is brought before the export that tells of it, and is compared by its hash there: what a
confirmed export names is at the target, and nothing is sent twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from uploaderd.exchange import export
from uploaderd.exchange.export import Manifest
from uploaderd.exchange.sftp_target import SftpTarget


@dataclass(frozen=True)
class Filter:
    """Which files travel; an empty collection allows all."""

    stations: Collection[str] = ()
    formats: Collection[str] = ()
    largest_bytes: int | None = None

    def takes(self, station: str, kind: str, size: int) -> bool:
        """Whether a file of the station, format and size is wanted."""
        return (
            (not self.stations or station in self.stations)
            and (not self.formats or kind in self.formats)
            and (self.largest_bytes is None or size <= self.largest_bytes)
        )


def bring(
    target: SftpTarget, repository: Path, wanted: Filter, path: Path, beat: Callable[[], None]
) -> int:
    """Brings the files of an export to the target; gives how many there were.

    Files that have left the repository meanwhile are passed over: a later row tells where they are.

    Raises what `upload.put` raises.
    """
    count = 0
    for name in names(path, export.read(path), wanted):
        file = repository / name
        if file.is_file():
            target.bring(file, name, beat)
            count += 1
    return count


def names(path: Path, manifest: Manifest, wanted: Filter) -> Iterator[str]:
    """Paths below the repository of the export's processed files that the filter takes."""
    if "files" not in manifest.parts:
        return
    for batch in export.batches(path, "files"):
        columns = (
            batch[name].to_pylist() for name in ("stage", "path", "host_uid", "format", "size")
        )
        for stage, name, station, kind, size in zip(*columns, strict=True):
            place = PurePosixPath(name.decode("utf-8", "surrogateescape"))
            inside = name and not place.is_absolute() and ".." not in place.parts
            if (
                stage == b"processed"
                and inside
                and wanted.takes(station.decode(), kind.decode(), size)
            ):
                yield str(place)
