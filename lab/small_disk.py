"""A folder as a small file system of its own, which can be filled."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[bool]:
    """A tmpfs of so many bytes (`64k`, `4m`) on the folder, which is made; false if not permitted.

    What runs in a mount namespace of its own sees it only if it is started behind it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-n", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    permitted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield permitted
    finally:
        if permitted:
            subprocess.run(["umount", "-n", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Takes every block that is left there; the file that does."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"x" * 4096)
            except OSError:
                return path
