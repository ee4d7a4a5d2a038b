"""The whole system with some stations, every link of it through a proxy, every server restartable.

`Fleet` is what the faults act on and what the workload uses; `fleet(folder)` starts it.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pika

from lab import database, small_disk, sshd, system
from lab.crashing import Points
from lab.link import Link
from lab.recordings import write_crfs
from lab.station import Station, lay_out
from lab.system import System
from uploaderd import messages
from uploaderd.broker import access

STATIONS = 3
TRACES = 4
REPOSITORY_MB = 192
CANARY = "canary-4711-secret"
"""The stations' password: it must not show anywhere."""
STEADY = {
    # Whatever dies is restarted at once: here dying is the rule.
    "supervision": {"restart_delay_s": 0.1, "restart_delay_max_s": 0.3, "crash_limit": 100_000},
}


@dataclass
class Post:
    """One station: its disk, its SSH server, and the link to it."""

    host: int
    uid: str
    station: Station
    server: sshd.Sshd
    link: Link
    measured: int = 0

    @property
    def backlog(self) -> int:
        """How many files its index names."""
        return self.station.index.read_bytes().count(b"\n") if self.station.index.exists() else 0


@dataclass
class Fleet:
    """All that runs. A server's lock is held while it is down on purpose."""

    system: System
    posts: list[Post]
    broker_link: Link
    database_link: Link
    points: Points
    disk: Path | None
    """The repository, if it is a small disk of its own that can be filled."""
    daemon_lock: threading.Lock = field(default_factory=threading.Lock)
    database_lock: threading.Lock = field(default_factory=threading.Lock)
    broker_lock: threading.Lock = field(default_factory=threading.Lock)

    def measure(self, post: Post, count: int, *, broken: bool) -> None:
        """The station writes so many files, the last one not readable if asked; the agent runs."""
        for each in range(count):
            number = post.measured * STATIONS + post.host
            path = post.station.data / f"{post.uid}_{post.measured:05d}.bin"
            if broken and each == count - 1:
                path.write_bytes(random.Random(number).randbytes(3000))
            else:
                write_crfs(path, number, traces=TRACES, hostname=post.uid)
            post.measured += 1
        post.station.run_agent()

    def ask(self, post: Post) -> bool:
        """A host request for the station; True if the broker has confirmed it."""
        request = {
            "host_id": post.host,
            "host_uid": post.uid,
            "host_add": post.server.host,
            "host_port": post.link.port,
            "user": post.server.user,
        }
        if post.server.passwords:
            request["passwd"] = CANARY
        return self.send("host-request", request)

    def send(self, kind: str, body: dict[str, Any]) -> bool:
        """Publishes a message as a client of ours would; True if the broker has confirmed it."""
        settings = self.system.broker.settings
        try:
            parameters = access.parameters(settings, *settings.hosts[0], name="chaos")
            with contextlib.closing(pika.BlockingConnection(parameters)) as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                channel.basic_publish(
                    settings.exchange,
                    messages.routing_key(kind),
                    messages.encode(body),
                    pika.BasicProperties(delivery_mode=2, message_id=os.urandom(8).hex()),
                    mandatory=True,
                )
        except (pika.exceptions.AMQPError, OSError):
            return False
        return True

    def workers(self) -> list[int]:
        """Process ids of the daemon's workers."""
        daemon = self.system.daemon
        return children(daemon.pid) if daemon is not None else []

    def restart_what_died(self) -> None:
        """What systemd would do: daemon and servers that ended by a fault are started again."""
        running = self.system
        with _if_free(self.daemon_lock) as free:
            if free and running.daemon and running.daemon.poll() is not None:
                running.launch_daemon()
        with _if_free(self.database_lock) as free:
            if free and running.database.process.poll() is not None:
                self.start_database()

    def start_database(self) -> None:
        """Starts it on the same data and port."""
        running = self.system
        running.database = database.start(
            running.folder / "database",
            running.database.settings.port,
            environment=self.points.environment,
        )


@contextlib.contextmanager
def _if_free(lock: threading.Lock) -> Iterator[bool]:
    """Holds the lock, unless a fault does: then False, for it starts again what it ends."""
    free = lock.acquire(blocking=False)
    try:
        yield free
    finally:
        if free:
            lock.release()


def children(parent: int) -> list[int]:
    """Process ids of a process's children."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and fields[0] not in "ZX":
                found.append(int(entry.parent.name))
    return found


@contextlib.contextmanager
def fleet(folder: Path) -> Iterator[Fleet]:
    """Everything runs, the daemon too."""
    points = Points(folder / "points")
    points.make()
    with contextlib.ExitStack() as ending:
        running = ending.enter_context(system.running(folder / "system", points.environment))
        mounting = small_disk.mounted(running.repository, f"{REPOSITORY_MB}m")
        disk = running.repository if ending.enter_context(mounting) else None
        posts = [_post(folder, number, ending) for number in range(1, STATIONS + 1)]
        links = [
            ending.enter_context(Link(target))
            for target in (
                running.broker.settings.hosts[0],
                (running.database.settings.host, running.database.settings.port),
            )
        ]
        here = Fleet(running, posts, *links, points, disk)
        _configure(here)
        running.start_daemon()
        try:
            yield here
        finally:
            # What is frozen would not hear that it is to end.
            for pid in (*here.workers(), *([running.daemon.pid] if running.daemon else [])):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


def _post(folder: Path, number: int, ending: contextlib.ExitStack) -> Post:
    uid = f"rfeye{number:06d}"
    home = folder / f"station-{number}"
    station = lay_out(home)
    account = sshd.Account(password=CANARY)
    server = sshd.start(folder / f"sshd-{number}", account, key_file=folder / "key", home=home)
    post = Post(number, uid, station, server, Link((server.host, server.port)))
    ending.callback(server.stop)
    ending.enter_context(post.link)
    return post


def _configure(here: Fleet) -> None:
    running = here.system
    running.daemon_settings = {**STEADY, "logging": {"format": "json"}}
    running.broker_hosts = [f"127.0.0.1:{here.broker_link.port}"]
    running.broker_settings = {"heartbeat": 4, "prefetch": 4, "retry_delays_s": [0.2, 0.5, 1]}
    running.database_settings = {"port": here.database_link.port, "timeout_s": 5}
    running.service_settings = {"limits": {"watchdog_s": 15}}
    running.instances = {"backup": 2}
    running.behaviour = {
        "backup": {
            "agent_config": "etc/node/indexerD.cfg",
            "key_file": str(here.posts[0].server.key_file),
            "host_key_policy": "insecure",
            "slice_files": 6,
            "halt_wait_s": 0.5,
            "halt_tries": 3,
        },
        "host-request": {"pending_hours": 0.0005},
        "publish": {"free_space_floor_mb": 0},
    }
    running.configure()
