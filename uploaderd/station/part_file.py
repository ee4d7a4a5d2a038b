"""A file on its way: `NAME.part`, with a small record that lets a broken transfer go on.

The record says how many bytes from the beginning are there and what their SHA-256 is, of which
remote file, size and mtime. It is written now and then and at an orderly end; whatever lies beyond
it is fetched again. Without a record, or with one that does not fit, the file begins anew.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from uploaderd import crash_points
from uploaderd.errors import RemoteFileError, RepositoryError
from uploaderd.station.digest import Digest
from uploaderd.station.piece_writer import PieceWriter, writer

CHECKPOINT = 8 << 20
WORTH_A_RECORD = 1 << 20
_BLOCK = 1 << 20
_OF_THIS_FILE = {errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EINVAL}


class TargetError(RepositoryError):
    """This target cannot be written; others may."""


class PartFile:
    """The local side of one transfer; holds a lock, so that no two processes write one target."""

    def __init__(self, target: Path, remote_path: bytes) -> None:
        """Opens the part file; raises RepositoryError, or RemoteFileError if it is locked."""
        self.target = target
        self.path = _beside(target)
        self._record = self.path + ".json"
        self._remote_path = remote_path
        self.size = self.mtime = 0
        self.digest = Digest()
        self._recorded = 0
        self._to_record: tuple[int, str] | None = None
        """What is there, and was not with the kernel yet when it became worth a record."""
        self._writer: PieceWriter | None = None
        try:
            # Fresh: made just now, and not by an earlier transfer.
            self._file, self._fresh = _opened(self.path)
        except OSError as error:
            raise not_written(self.path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise RemoteFileError(f"{self.path} is being written by another process.") from error

    @staticmethod
    def is_there(target: Path) -> bool:
        """Whether something lies where the part file of the target has its place."""
        return os.path.lexists(_beside(target))

    def begin(self, size: int, mtime: int) -> bool:
        """Sets what the remote file is, and whether bytes of an earlier transfer may be kept.

        True: `position` bytes are there, as a record says that fits; they are still to be compared
        with the station. False: the file is empty now. Raises RepositoryError.
        """
        self.size, self.mtime = size, mtime
        if self._fresh:
            return False
        try:
            if self._kept():
                return True
        except OSError as error:
            raise not_written(self.path, error) from error
        self.restart()
        return False

    @property
    def position(self) -> int:
        """How many bytes from the beginning are there."""
        return self.digest.position

    def restart(self) -> None:
        """Throws away what is there; raises RepositoryError."""
        self.digest = Digest()
        self._recorded = 0
        try:
            _unlink(self._record)
            os.ftruncate(self._file, 0)
        except OSError as error:
            raise not_written(self.path, error) from error

    def _kept(self) -> bool:
        try:
            record = json.loads(Path(self._record).read_text())
            offset, expected = record.pop("offset"), record.pop("sha256")
        except (FileNotFoundError, ValueError, KeyError, AttributeError):
            return False
        if record != self._identity() or not 0 < offset <= self.size:
            return False
        digest = Digest()
        while digest.position < offset:
            data = self.read(digest.position, min(_BLOCK, offset - digest.position))
            if not data:
                return False
            digest.write(digest.position, memoryview(data))
        if digest.hexdigest() != expected:
            return False
        os.ftruncate(self._file, offset)
        self.digest, self._recorded = digest, offset
        return True

    def _identity(self) -> dict[str, object]:
        return {"remote_path": self._remote_path.hex(), "size": self.size, "mtime": self.mtime}

    def read(self, offset: int, length: int) -> bytes:
        """Bytes that are there already."""
        return os.pread(self._file, length, offset)

    def write(self, offset: int, data: memoryview) -> None:
        """Writes a piece at its place; raises RepositoryError if the disk does not take it."""
        try:
            if self._writer is None:
                self._writer = writer(self._file, self.size)
            self._writer.write(offset, data)
            self.digest.write(offset, data)
            if self.digest.position == self.size:
                self._writer.finish()
            elif self.digest.position - self._recorded >= CHECKPOINT:
                self._checkpoint(self._writer.written)
        except OSError as error:
            raise not_written(self.path, error) from error

    def _checkpoint(self, written: int) -> None:
        """Records what is there, once all of it is with the kernel."""
        if self._to_record is None:
            self._to_record = self._progress()
        if self._to_record[0] <= written:
            self._write_record(*self._to_record)
            self._to_record = None

    def write_whole(self, content: bytes, mtime_ns: int) -> None:
        """Writes all there is, whose digest the caller knows; raises RepositoryError."""
        if not self._fresh:
            self.restart()
        try:
            done = os.write(self._file, content)
            while done < len(content):
                done += os.write(self._file, content[done:])
            os.utime(self._file, ns=(mtime_ns, mtime_ns))
        except OSError as error:
            raise not_written(self.path, error) from error

    @property
    def sha256(self) -> str:
        """Digest of what is there."""
        return self.digest.hexdigest()

    @property
    def held(self) -> int:
        """Bytes in memory: none."""
        return 0

    def md5(self) -> str:
        """Digest for a station that has no other; raises RepositoryError."""
        digest = hashlib.md5(usedforsecurity=False)
        try:
            for offset in range(0, self.position, _BLOCK):
                digest.update(self.read(offset, _BLOCK))
        except OSError as error:
            raise not_written(self.path, error) from error
        return digest.hexdigest()

    def _progress(self) -> tuple[int, str]:
        return self.digest.position, self.digest.hexdigest()

    def _write_record(self, offset: int, sha256: str) -> None:
        fresh = Path(self._record + ".new")
        fresh.write_text(json.dumps(self._identity() | {"offset": offset, "sha256": sha256}))
        fresh.replace(self._record)
        self._recorded = offset

    @property
    def handle(self) -> int:
        """The open file."""
        return self._file

    def write_out(self, folder: Callable[[str], int], mtime_ns: int) -> None:
        """Sets the mtime of what is all there; raises RepositoryError.

        `folder` is asked for the folder in which it gets its name.
        """
        try:
            folder(os.path.dirname(self.path))
            os.utime(self._file, ns=(mtime_ns, mtime_ns))
        except OSError as error:
            raise not_written(self.path, error) from error

    def place(self) -> None:
        """Gives the file its name, once it is synced; its folder is still to be.

        Raises RepositoryError.
        """
        try:
            crash_points.reached("file-named:before")
            os.replace(self.path, self.target)
            crash_points.reached("file-named:after")
            if self._recorded:
                _unlink(self._record)
        except OSError as error:
            raise not_written(self.target, error) from error
        self._close()

    def keep(self) -> None:
        """Closes it for a later transfer to go on with, or removes what is not worth it."""
        if self._file < 0:
            # It has its name.
            return
        try:
            if self._writer is not None:
                self._writer.finish()
            if self.digest.position >= WORTH_A_RECORD:
                self._write_record(*self._progress())
        except OSError:
            # On a full disk an older record is as true as it was.
            pass
        finally:
            if self._recorded:
                self._close()
            else:
                self.drop()

    def drop(self) -> None:
        """Removes it, unless it has its name."""
        if self._file < 0:
            return
        with contextlib.suppress(OSError):
            if self._writer is not None:
                self._writer.finish()
        with contextlib.suppress(OSError):
            _unlink(self.path)
            _unlink(self._record)
        self._close()

    def _close(self) -> None:
        """Once and no more: the number may be another file's by then."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _beside(target: Path) -> str:
    """Path of the part file; plain text, for `pathlib` takes longer than a small file."""
    folder, name = os.path.split(os.fspath(target))
    if len(os.fsencode(name)) > 240:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return os.path.join(folder, name + ".part")


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _opened(path: str) -> tuple[int, bool]:
    """A descriptor, and whether the file was not there before."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_EXCL, 0o644), True
    except FileExistsError:
        return os.open(path, flags, 0o644), False
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags | os.O_EXCL, 0o644), True


def not_written(path: Path | str, error: OSError) -> RepositoryError:
    """The error for a refusal of the local disk: of this one target, or of the whole disk."""
    sentence = f"{path} cannot be written: {error.strerror or error}."
    if error.errno in _OF_THIS_FILE:
        return TargetError(sentence)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RepositoryError(
            sentence, hint="Make room, or raise the quota; what is done is kept."
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return RepositoryError(sentence, hint="The daemon's user must be able to write there.")
    return RepositoryError(sentence)
