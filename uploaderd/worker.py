"""One instance of a service: the process that the supervisor starts.

It ends by itself when it is asked to (SIGTERM) and when its supervisor is gone.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import importlib
import importlib.metadata
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import setproctitle

from uploaderd import crash_points, memory
from uploaderd.broker.job import Outgoing
from uploaderd.broker.runtime import Runtime
from uploaderd.config import load_daemon, load_service
from uploaderd.config.settings import DaemonSettings, ServiceSettings
from uploaderd.errors import ConfigError, UploaderError
from uploaderd.observe.counters import COUNTERS
from uploaderd.observe.logs import configure, log_context
from uploaderd.supervisor.reports import Reporter

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one instance until it is told to stop; gives the exit status."""
    parser = argparse.ArgumentParser(prog="uploaderd.worker", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--service-file", type=Path, required=True)
    parser.add_argument("--instance", type=int, default=1)
    parser.add_argument("--supervisor-fd", type=int, help="socket to the supervisor")
    arguments = parser.parse_args(argv)
    memory.spare()
    _wake_when_the_supervisor_ends()
    connection = None
    texts: dict[str, str] = {}
    if arguments.supervisor_fd is not None:
        connection = socket.socket(fileno=arguments.supervisor_fd)
        texts = _first_line(connection)
    try:
        daemon = load_daemon(arguments.config, texts.get("config"))
        settings = load_service(arguments.service_file, daemon.repository, texts.get("service"))
    except ConfigError as error:
        sys.stderr.write(f"uploaderd: {error}\n")
        return 1
    name = f"{settings.name}[{arguments.instance}]"
    setproctitle.setproctitle(f"uploaderd: {name}")
    configure(daemon.logging, name)
    crash_points.install_hook()
    # The supervisor asks a hung worker for its stacks before it kills it.
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    stop = threading.Event()
    _watch(connection, stop, daemon.supervision.stop_timeout_s)
    try:
        _run(daemon, settings, Reporter(connection), stop)
    except UploaderError as error:
        log.error("%s", error)
        return 1
    return 0


def service_class(name: str) -> Callable[[ServiceSettings], Any]:
    """The class behind a registered name, or behind `module:Class`. Raises ConfigError."""
    try:
        if ":" in name:
            module, _, attribute = name.partition(":")
            found: Callable[[ServiceSettings], Any] = getattr(
                importlib.import_module(module), attribute
            )
            return found
        entries = importlib.metadata.entry_points(group="uploaderd.services", name=name)
        for entry in entries:
            loaded: Callable[[ServiceSettings], Any] = entry.load()
            return loaded
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the service {name} cannot be loaded: {error}") from error
    raise ConfigError(f"no service is registered as {name}")


def _run(
    daemon: DaemonSettings, settings: ServiceSettings, reporter: Reporter, stop: threading.Event
) -> None:
    """A service with `run(stop, beat)` has a loop of its own; the others handle messages."""
    service = service_class(settings.service)(settings)
    memory.settle()
    try:
        reporter.ready()
        log.info("started")
        if hasattr(service, "run"):
            service.run(stop, reporter.beat)
            return
        Runtime(
            settings.broker,
            settings.queue,
            settings.service,
            _observed(service.handle, reporter),
            workers=settings.workers,
            on_beat=reporter.beat,
            run_dir=daemon.run_dir,
        ).run(stop)
    finally:
        service.close()
        reporter.last()
        log.info("stopped")


def _observed(handle: Callable[[Any], None], reporter: Reporter) -> Callable[[Any], None]:
    """The handler, with its messages counted, its log lines marked and its events reported."""

    def observed(job: Any) -> None:
        send_now = job.send_now

        def sending(outgoing: Sequence[Outgoing]) -> None:
            send_now(outgoing)
            _report(outgoing, reporter)

        # What a handler has confirmed is out, even if the job fails afterwards.
        job.send_now = sending
        host = job.body.get("host_id") or job.body.get("host_uid")
        begun = time.monotonic()
        outcome = "failed"
        with log_context(message=job.message_id, host=host):
            try:
                handle(job)
                outcome = "done"
            finally:
                COUNTERS.observe("message_seconds", time.monotonic() - begun, outcome=outcome)
        _report(job.outgoing, reporter)

    return observed


def _report(outgoing: Sequence[Outgoing], reporter: Reporter) -> None:
    """Tells the supervisor of the events among the messages: it mails them."""
    for one in outgoing:
        if one.routing_key.startswith("notify."):
            reporter.event(one.routing_key, json.loads(one.body))


def _wake_when_the_supervisor_ends() -> None:
    """Has the kernel send SIGCONT then: a process that is stopped (SIGSTOP) cannot see it end.

    A process that runs does not notice the signal. prctl(2) cannot fail for a valid signal.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)


def _first_line(connection: socket.socket) -> dict[str, str]:
    """The texts of the files as the supervisor checked them: they may have changed since."""
    data = b""
    while not data.endswith(b"\n"):
        more = connection.recv(65536)
        if not more:
            sys.exit(1)
        data += more
    texts: dict[str, str] = json.loads(data)
    return texts


def _watch(connection: socket.socket | None, stop: threading.Event, patience_s: float) -> None:
    """Sets `stop` at SIGTERM, SIGINT or the supervisor's end.

    A thread does it, for a handler that sets an event on which its own thread waits may lock up.
    """
    waking, wakened = socket.socketpair()
    waking.setblocking(False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        assert waking.fileno() >= 0  # The signals' end stays open as long as this thread.
        watched = [wakened] if connection is None else [wakened, connection]
        while True:
            ready, _, _ = select.select(watched, [], [])
            stop.set()
            if connection in ready:
                # Nobody is left to end us if the work does not.
                time.sleep(patience_s)
                os.killpg(0, signal.SIGKILL)
            wakened.recv(4096)

    threading.Thread(target=watch, name="watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
