"""A root of its own for packages: this machine's files below, and a layer in memory above.

Whatever is installed there, users and units among it, is gone when the context ends; the machine
never sees it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOUNT = """
set -e
mount -n -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -n -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -n --bind /dev "$1/root/dev"
mount -n -t proc proc "$1/root/proc"
rm -rf "$1/root/var/lib/rpm"
mkdir -p "$1/root/var/lib/rpm" "$1/root/packages"
echo ready
read -r _
"""


@dataclass(frozen=True)
class Root:
    """The root, as a process sees it that holds its mounts."""

    folder: Path
    holder: int

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command in the root."""
        inside = ["nsenter", "--mount", "-t", str(self.holder), "chroot", f"{self.folder}/root"]
        # As after a log-in: nothing of the environment of tests.
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
        done = subprocess.run(
            [*inside, *command],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def rpm(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs rpm on the root's own database."""
        return self.run("rpm", "--dbpath", "/var/lib/rpm", *arguments, check=check)

    def put(self, package: Path) -> str:
        """Brings a file into the root; gives its path there."""
        command = ["nsenter", "--mount", "-t", str(self.holder)]
        target = f"/packages/{package.name}"
        subprocess.run([*command, "cp", str(package), f"{self.folder}/root{target}"], check=True)
        return target


def missing() -> str:
    """Why there can be no such root here; empty: there can."""
    if os.geteuid() != 0:
        return "only root may mount"
    probe = ["unshare", "--mount", "mount", "-n", "-t", "tmpfs", "tmpfs", "/mnt"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return "mounts are not permitted here"
    return ""


@contextlib.contextmanager
def root(folder: Path) -> Iterator[Root]:
    """A new root on an empty folder."""
    folder.mkdir()
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _MOUNT, "sh"]
    with subprocess.Popen(
        [*command, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        yield Root(folder, holder.pid)
        holder.communicate("\n", timeout=60)
