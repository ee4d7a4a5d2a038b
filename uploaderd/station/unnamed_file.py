"""A file that has no name before it is durable: nothing of it is left if it does not get that far.

Linux makes such files (`O_TMPFILE`, open(2)) on ext4, XFS, btrfs, F2FS and tmpfs; network file
systems have none.
"""

from __future__ import annotations

import errno
import os

from uploaderd import crash_points

UNSUPPORTED = {errno.EOPNOTSUPP, errno.EISDIR}
"""What a file system, or a kernel, without such files answers."""


class UnnamedFile:
    """An open file in a folder; each call raises OSError."""

    __slots__ = ("_folder", "_name", "handle")

    def __init__(self, folder: int, name: str) -> None:
        """`folder` is an open one, which outlives this."""
        self._folder, self._name = folder, name
        self.handle = os.open(".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o644, dir_fd=folder)

    def write(self, content: bytes, mtime_ns: int) -> None:
        """Writes all there is."""
        done = os.write(self.handle, content)
        while done < len(content):
            done += os.write(self.handle, content[done:])
        os.utime(self.handle, ns=(mtime_ns, mtime_ns))

    def place(self) -> None:
        """Gives the file its name, once it is synced; its folder is still to be.

        Raises FileExistsError if there is something of that name.
        """
        crash_points.reached("file-named:before")
        # With a folder given, Python follows the link (linkat(2), AT_SYMLINK_FOLLOW).
        os.link(f"/proc/self/fd/{self.handle}", self._name, dst_dir_fd=self._folder)
        crash_points.reached("file-named:after")

    def drop(self) -> None:
        """Lets go of it: what has no name is gone."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1
