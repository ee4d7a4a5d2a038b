"""The supervisor's loop: signals, workers and clocks, in one thread."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from uploaderd.broker import notices
from uploaderd.errors import ConfigError
from uploaderd.observe.logs import configure
from uploaderd.observe.mail import Mailer
from uploaderd.observe.pages import Pages
from uploaderd.observe.status import Status, write_status
from uploaderd.supervisor import systemd
from uploaderd.supervisor.board import Board
from uploaderd.supervisor.fleet_page import FleetPage
from uploaderd.supervisor.instance import Instance
from uploaderd.supervisor.plan import Plan, read_plan
from uploaderd.supervisor.troubles import Troubles
from uploaderd.supervisor.watch import QueueWatch

log = logging.getLogger(__name__)

_TICK_S = 0.2
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class Supervisor:
    """Keeps the instances of a plan alive until SIGTERM or SIGINT; SIGHUP reads the files anew."""

    def __init__(self, plan: Plan, config: Path, folder: Path) -> None:
        self._plan = plan
        self._files = (config, folder)
        self._instances: list[Instance] = []
        self._selector = selectors.DefaultSelector()
        self._watched: dict[int, Instance] = {}
        self._stopping = False
        self._reload_error = ""
        self._written = 0.0
        self._watch = QueueWatch(plan.daemon.status.look_interval_s)
        self._board = Board(self._watch)
        self._troubles = Troubles(self._tell)
        self._mailer = Mailer(plan.daemon.mail) if plan.daemon.mail else None
        fleet = FleetPage(lambda: self._plan)
        self._pages = Pages(plan.daemon.http, fleet) if plan.daemon.http.enabled else None

    def run(self) -> None:
        """Runs until it was told to stop and every worker has ended. Raises OSError."""
        waking, wakened = socket.socketpair()
        with waking, wakened, self._selector:
            waking.setblocking(False)
            wakened.setblocking(False)
            for number in _SIGNALS:
                signal.signal(number, lambda *_: None)
            previous = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
            self._selector.register(wakened, selectors.EVENT_READ, self._on_signals)
            try:
                self._apply(self._plan)
                self._show()
                systemd.notify("READY=1", f"MAINPID={os.getpid()}")
                self._loop()
            finally:
                for instance in self._instances:
                    if instance.child is not None:
                        instance.child.kill()
                signal.set_wakeup_fd(previous)
                systemd.notify("STOPPING=1")
                for closing in (self._pages, self._mailer, self._watch):
                    if closing is not None:
                        closing.close()
        log.info("all instances have stopped")

    def _loop(self) -> None:
        watchdog_s = systemd.watchdog_s()
        told = 0.0
        while True:
            for key, _ in self._selector.select(_TICK_S):
                act: Callable[[Any], None] = key.data
                act(key.fileobj)
            for instance in self._instances:
                instance.tick()
                self._listen_to(instance)
            self._instances = [each for each in self._instances if self._kept(each)]
            now = time.monotonic()
            if watchdog_s is not None and now - told >= watchdog_s:
                systemd.notify("WATCHDOG=1")
                told = now
            if now - self._written >= self._plan.daemon.supervision.status_interval_s:
                self._show()
            if self._stopping and all(each.over for each in self._instances):
                self._show()
                return

    def _kept(self, instance: Instance) -> bool:
        """False for what a reload took away, once it has stopped."""
        return instance.state != "stopped" or self._stopping

    # Workers

    def _listen_to(self, instance: Instance) -> None:
        """Watches the instance's worker, if there is one that is not watched yet."""
        child = instance.child
        if child is None or child.death in self._watched:
            return
        self._watched[child.death] = instance

        def on_death(death: int) -> None:
            self._selector.unregister(death)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.connection)
            del self._watched[death]
            for line in child.reports() or ():
                self._on_report(instance, line)
            instance.on_death()
            self._listen_to(instance)

        def on_lines(connection: socket.socket) -> None:
            lines = child.reports()
            if lines is None:
                self._selector.unregister(connection)
            for line in lines or ():
                self._on_report(instance, line)

        self._selector.register(child.death, selectors.EVENT_READ, on_death)
        self._selector.register(child.connection, selectors.EVENT_READ, on_lines)

    def _on_report(self, instance: Instance, line: dict[str, Any]) -> None:
        if line["tell"] == "event":
            self._mail(line["body"])
        else:
            instance.on_report(line)

    def _tell(self, severity: str, kind: str, subject: str, message: str) -> None:
        event = notices.event(severity, kind, subject, message)
        self._mail(event)
        self._watch.publish(event)

    def _mail(self, event: dict[str, Any]) -> None:
        if self._mailer is not None:
            self._mailer.tell(event)

    # Plans

    def _apply(self, plan: Plan) -> None:
        """Starts what is new, replaces what changed, and stops what is gone."""
        self._plan = plan
        self._watch.watch(
            (job.settings for job in plan.jobs.values()), plan.daemon.status.look_interval_s
        )
        current: dict[tuple[str, int], Instance] = {}
        for instance in self._instances:
            settings = instance.job.settings
            job = plan.jobs.get(settings.name)
            stays = job is not None and instance.number <= job.settings.instances
            if job is None or not stays:
                instance.stop("the configuration has it no more")
            elif instance.state in ("stopping", "stopped"):
                continue
            else:
                changed = not instance.job.same_work(job)
                instance.job = job
                instance.supervision = plan.daemon.supervision
                current[settings.name, instance.number] = instance
                if instance.state == "failed" or (changed and instance.child is None):
                    instance.start()
                elif changed:
                    instance.stop("its configuration has changed", for_good=False)
        for name, job in plan.jobs.items():
            for number in range(1, job.settings.instances + 1):
                if (name, number) not in current:
                    instance = Instance(job, number, plan.daemon.supervision, self._tell)
                    self._instances.append(instance)
                    instance.start()
        for instance in self._instances:
            self._listen_to(instance)

    def _reload(self) -> None:
        systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            plan = read_plan(*self._files)
        except ConfigError as error:
            self._reload_error = str(error)
            log.error("the configuration is left as it was: %s", error)
        else:
            self._reload_error = ""
            configure(plan.daemon.logging, "uploaderd")
            fixed = ("run_dir", "http", "mail")
            for key in fixed:
                if getattr(plan.daemon, key) != getattr(self._plan.daemon, key):
                    log.warning("a change of %s takes effect when the daemon is restarted", key)
            self._apply(plan)
            log.info("the configuration was read anew")
        systemd.notify("READY=1")

    # Signals and status

    def _on_signals(self, wakened: socket.socket) -> None:
        for number in wakened.recv(4096):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif number == signal.SIGHUP and not self._stopping:
                self._reload()
            elif number == signal.SIGUSR1:
                for each in self._status().instances:
                    log.info("state of %s[%s]: %s", each["service"], each["instance"], each)

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            systemd.notify("STOPPING=1")
            log.info("stopping: the work in hand is finished")
            for instance in self._instances:
                instance.stop("the daemon stops")

    def _status(self) -> Status:
        return self._board.status(
            self._plan.daemon,
            self._instances,
            stopping=self._stopping,
            reload_error=self._reload_error,
            http_port=self._pages.port if self._pages else None,
            more=self._mailer.samples() if self._mailer else {},
        )

    def _show(self) -> None:
        self._written = time.monotonic()
        status = self._status()
        self._troubles.look(status, self._plan.daemon.status)
        running = sum(each["state"] == "running" for each in status.instances)
        systemd.notify(f"STATUS={running} of {len(status.instances)} instances are running")
        if self._pages is not None:
            self._pages.show(status)
        try:
            write_status(self._plan.daemon.run_dir, status)
        except OSError as error:
            log.error("status.json cannot be written: %s", error)
