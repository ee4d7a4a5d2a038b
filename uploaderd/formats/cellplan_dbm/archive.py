"""The zip in which stations pack `.dBm` files: nothing is extracted under a name of the archive."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Generator
from contextlib import closing
from pathlib import Path, PureWindowsPath

from uploaderd.formats.errors import DAMAGED, UNSAFE_ARCHIVE, FormatError
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.spill import Budget, Bytes, spill

MAX_MEMBERS = 4096
PIECE = 1 << 20


def members(path: Path, log: IssueLog, budget: Budget) -> Generator[tuple[str, Bytes], None, None]:
    """Name and content of every `.dBm` in the archive, one after the other.

    A damaged member is noted as `bad_member` and left out. Raises FormatError: `unsafe_archive`
    for path tricks, links, too many members or too much to unpack; `damaged` if the archive's
    directory cannot be read.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise FormatError(DAMAGED, f"The archive's directory is damaged: {error}.") from error
    with archive:
        infos = archive.infolist()
        if len(infos) > MAX_MEMBERS:
            raise FormatError(UNSAFE_ARCHIVE, f"The archive has more than {MAX_MEMBERS} members.")
        for info in infos:
            _check(info)
        for info in infos:
            if not info.filename.lower().endswith(".dbm"):
                continue
            try:
                with closing(_pieces(archive, info)) as pieces:
                    content = spill(pieces, budget)
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
                # RuntimeError: an encrypted member; NotImplementedError, one of its subclasses:
                # a method of compression that Python does not have.
                log.add("bad_member", member=info.filename, reason=str(error))
                continue
            yield PureWindowsPath(info.filename).name, content


def _check(info: zipfile.ZipInfo) -> None:
    name = PureWindowsPath(info.filename)
    escapes = name.drive or name.root or ".." in name.parts or "\0" in info.orig_filename
    if escapes or stat.S_ISLNK(info.external_attr >> 16):
        raise FormatError(
            UNSAFE_ARCHIVE, f"The archive has a member that leaves its folder: {info.filename!r}."
        )


def _pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Generator[bytes, None, None]:
    with archive.open(info) as member:
        while piece := member.read(PIECE):
            yield piece
