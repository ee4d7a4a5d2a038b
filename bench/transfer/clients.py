"""The clients of the transfer benchmark, each as one run from connection to last file."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab import sshd as lab_sshd

SPARE = 256 << 20
"""Bytes of memory beside those of the files."""
GCM = ("-c", "aes128-gcm@openssh.com")


@dataclass(frozen=True)
class Place:
    """Where a run fetches from and to, through which port, and how long it may take."""

    server: lab_sshd.Sshd
    port: int
    there: Path
    here: Path
    patience_s: float


@dataclass(frozen=True)
class Run:
    """What a run brought, in which wall and processor time."""

    seconds: float = 1.0
    cpu_s: float = 0.0
    bytes: int = 0
    cut_short: bool = False
    missing: bool = False


Client = Callable[[Place], Run]


@contextlib.contextmanager
def delay_line(port: int, round_trip_s: float) -> Iterator[int]:
    """The port itself, or that of a proxy process that delays both directions by half of it."""
    if not round_trip_s:
        yield port
        return
    command = [sys.executable, "-m", "lab.link", str(port), str(round_trip_s / 2)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            yield int(proxy.stdout.readline())
        finally:
            proxy.terminate()


def _command(name: str, make: Callable[[Place], list[str]], place: Place) -> Run:
    if shutil.which(name) is None:
        return Run(missing=True)
    return _timed(make(place), place, order=None)


def _timed(command: list[str], place: Place, order: str | None) -> Run:
    """Runs a command in a process group of its own.

    With an order, the command is given it on its standard input, says when it is ready, and tells
    its own processor time: neither starting an interpreter nor knowing the files' names, which a
    station's index tells, is part of a transfer.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    if order is None:
        _warm(place)
    pipe = subprocess.DEVNULL if order is None else subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, start_new_session=True
    ) as process:
        said = ""
        if order is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            process.stdin.write(order + "\n")
            process.stdin.flush()
            process.stdout.readline()
            _warm(place)
        begun = time.perf_counter()
        try:
            said, _ = process.communicate("\n" if order is not None else None, place.patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        seconds = time.perf_counter() - begun
    cut_short = process.returncode == -signal.SIGKILL
    if process.returncode and not cut_short:
        raise RuntimeError(f"{command[0]} failed with status {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if order is not None and not cut_short:
        cpu_s = float(json.loads(said)["cpu_s"])
    arrived = sum(path.stat().st_size for path in place.here.rglob("*") if path.is_file())
    return Run(seconds, cpu_s, arrived, cut_short)


def _warm(place: Place) -> None:
    """Has memory at hand for what comes.

    The host of a virtual machine may take back what is free for some seconds (free page reporting),
    and gives it anew at some 3 s a GiB: whoever runs after a pause would pay for it.
    """
    size = sum(path.stat().st_size for path in place.there.iterdir()) + SPARE
    with mmap.mmap(-1, size) as memory:
        for page in range(0, size, mmap.PAGESIZE):
            memory[page] = 1


def _puller(kind: str, place: Place) -> Run:
    order = {
        "port": place.port,
        "user": place.server.user,
        "key_file": str(place.server.key_file),
        "there": str(place.there),
        "here": str(place.here),
    }
    command = [sys.executable, "-m", "bench.transfer.puller", kind]
    return _timed(command, place, json.dumps(order))


def _ssh_options(place: Place) -> list[str]:
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
    key = str(place.server.key_file)
    return ["-F", "none", "-i", key, *(f"-o{option}" for option in options)]


def _ssh(place: Place, *cipher: str) -> str:
    return shlex.join(["ssh", "-p", str(place.port), *cipher, *_ssh_options(place)])


def _address(place: Place) -> str:
    return f"{place.server.user}@{place.server.host}"


def _sftp(*cipher: str) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        return [
            *("sftp", "-q", "-P", str(place.port), *cipher, *_ssh_options(place)),
            *(f"{_address(place)}:{place.there}/*", str(place.here)),
        ]

    return make


def _rsync(*cipher: str) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        source = f"{_address(place)}:{place.there}/"
        return ["rsync", "-rt", "-e", _ssh(place, *cipher), source, str(place.here)]

    return make


def _tar(*cipher: str) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        there, here = shlex.quote(str(place.there)), shlex.quote(str(place.here))
        far = shlex.quote(f"tar -C {there} -cf - .")
        near = f"tar -C {here} -xf -"
        return ["sh", "-c", f"{_ssh(place, *cipher)} {_address(place)} {far} | {near}"]

    return make


def _rclone(place: Place) -> list[str]:
    remote = (
        f":sftp,host={place.server.host},port={place.port},user={place.server.user},"
        f"key_file={place.server.key_file},shell_type=unix:{place.there}"
    )
    quick = ("--transfers", "8", "--checkers", "8", "--ignore-checksum")
    return ["rclone", "copy", "-q", "--config", "", *quick, remote, str(place.here)]


def _lftp(place: Place) -> list[str]:
    script = (
        f"set sftp:connect-program {shlex.quote('ssh -a -x ' + shlex.join(_ssh_options(place)))};"
        " set net:max-retries 1; set cmd:fail-exit yes;"
        f" open -u {place.server.user},none sftp://{place.server.host}:{place.port};"
        f" mirror -P 4 {place.there} {place.here}"
    )
    return ["lftp", "--norc", "-c", script]


CLIENTS: dict[str, Client] = {
    "ours": partial(_puller, "ours"),
    "ours-by-ssh": partial(_puller, "ours-by-ssh"),
    "ours-remote-hash": partial(_puller, "ours-remote-hash"),
    "sftp": partial(_command, "sftp", _sftp()),
    "sftp-gcm": partial(_command, "sftp", _sftp(*GCM)),
    "rsync": partial(_command, "rsync", _rsync()),
    "rsync-gcm": partial(_command, "rsync", _rsync(*GCM)),
    "tar": partial(_command, "tar", _tar()),
    "tar-gcm": partial(_command, "tar", _tar(*GCM)),
    "rclone": partial(_command, "rclone", _rclone),
    "lftp": partial(_command, "lftp", _lftp),
    "paramiko-get": partial(_puller, "paramiko-get"),
}
"""`-gcm`: with aes128-gcm, which is our own cipher, instead of the default."""
