"""`uploaderctl status` says what is true, whatever happened to the daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.ports import free_ports
from tests.integration.supervisor.running import Daemon, alive, daemon_in, until
from uploaderd.broker.depths import depths
from uploaderd.broker.runtime import Runtime
from uploaderd.config import load_daemon
from uploaderd.config.settings import BrokerSettings, QueueSettings
from uploaderd.ctl.main import main
from uploaderd.ctl.standing import gather
from uploaderd.errors import BrokerError
from uploaderd.observe.status import DEGRADED, DOWN


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with daemon_in(tmp_path) as daemon:
        yield daemon


def status(daemon: Daemon, *more: str) -> int:
    files = ("-c", str(daemon.folder / "config.json"), "-s", str(daemon.services))
    return main(["status", *files, *more])


def test_the_exit_status_follows_the_health(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = daemon.service("bad")
    daemon.service("good")
    assert status(daemon, "--no-queues") == 2
    assert "has not been started" in capsys.readouterr().out
    daemon.start()
    daemon.wait_for("bad", "running")
    pid = daemon.wait_for("good", "running")
    until(lambda: status(daemon, "--no-queues") == 0, "health")
    capsys.readouterr()
    (bad / "die").touch()
    daemon.service("bad", limits={"watchdog_s": 50})
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("bad", "failed")
    assert status(daemon, "--no-queues", "--json") == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["reason"].startswith("bad is failed: 5 deaths within")
    assert [each["pid"] for each in shown["instances"] if each["service"] == "good"] == [pid]
    assert status(daemon, "--no-queues") == 1
    text = capsys.readouterr().out
    assert "bad[1]" in text
    assert "5 deaths within" in text
    assert daemon.process is not None
    daemon.process.kill()
    daemon.process.wait()
    assert status(daemon, "--no-queues") == 2
    assert "the daemon has ended" in capsys.readouterr().out


def test_the_depths_of_a_real_queue_are_told(vhost: BrokerSettings) -> None:
    queue = QueueSettings("publish", ("catalog.publish",))
    with pytest.raises(BrokerError, match="The queue publish cannot be looked at"):
        depths(vhost, queue)
    stop = threading.Event()
    runtime = Runtime(vhost, queue, "publish", lambda job: None)
    thread = threading.Thread(target=runtime.run, args=(stop,))
    thread.start()
    try:
        until(lambda: runtime.connected, "the queue")
        assert depths(vhost, queue) == {"ready": 0, "retrying": 0, "dead": 0, "consumers": 1}
    finally:
        stop.set()
        thread.join()


def told(daemon: Daemon) -> dict[str, Any]:
    return gather(load_daemon(daemon.folder / "config.json"), (), local=True)


def test_what_is_told_is_true_while_processes_are_killed_in_storms(daemon: Daemon) -> None:
    supervision = {"restart_delay_s": 0.1, "restart_delay_max_s": 0.1, "crash_limit": 1000}
    daemon.configure(supervision={**supervision, "status_interval_s": 0.5})
    for name in ("a", "b"):
        daemon.service(name, instances=2)
    daemon.start()
    killed: list[int] = []
    for number in range(16):
        name, instance = "ab"[number % 2], 1 + number % 3 % 2
        pid = daemon.wait_for(name, "running", instance, other_than=killed[-1] if killed else 0)
        if pid in killed:
            continue
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
        gone = {pid for pid in killed if not alive(pid)}
        shown = told(daemon)
        by_pid = {each["pid"]: each for each in shown["instances"] if each["pid"]}
        assert not gone & set(by_pid)
        assert {each["state"] for each in by_pid.values()} <= {"running", "starting"}
        if len(by_pid) < 4 and by_pid:
            assert (shown["health"], "waiting" in shown["reason"]) == (DEGRADED, True)

    def restarts() -> int:
        return sum(each["restarts"] for each in told(daemon)["instances"])

    until(lambda: restarts() == len(killed) and told(daemon)["health"] == 0, "recovery")


def test_frozen_processes_and_orphans_are_told_of(daemon: Daemon) -> None:
    daemon.service("one", behaviour={"drain_s": 5})
    daemon.start()
    pid = daemon.wait_for("one", "running")
    os.kill(pid, signal.SIGSTOP)
    until(lambda: told(daemon)["services"][0]["state"] == "frozen", "the frozen worker")
    assert told(daemon)["health"] == DOWN
    os.kill(pid, signal.SIGCONT)
    until(lambda: told(daemon)["health"] == 0, "the thawed worker")
    assert daemon.process is not None
    daemon.signal(signal.SIGSTOP)
    frozen = until(lambda: told(daemon) if told(daemon)["health"] == DOWN else None, "frozen")
    assert "is frozen" in frozen["reason"]
    daemon.process.kill()
    daemon.process.wait()
    shown = told(daemon)
    assert (shown["health"], shown["services"][0]["state"]) == (DOWN, "stopped")
    orphan = shown["instances"][0]
    assert (orphan["state"], orphan["pid"]) in (("stopping", pid), ("stopped", None))
    until(lambda: told(daemon)["instances"][0]["pid"] is None, "the orphan's end")


def test_another_program_under_the_daemon_s_number_is_not_taken_for_it(daemon: Daemon) -> None:
    daemon.service("one")
    daemon.start()
    daemon.wait_for("one", "running")
    assert daemon.stop() == 0
    path = daemon.folder / "run" / "status.json"
    status = json.loads(path.read_text())
    with subprocess.Popen(["sleep", "60"]) as other:
        path.write_text(json.dumps({**status, "pid": other.pid, "stopping": False}))
        shown = told(daemon)
        other.kill()
    assert (shown["health"], "has ended" in shown["reason"]) == (DOWN, True)


def test_a_broker_that_is_away_makes_the_status_degraded(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    (port,) = free_ports(1)
    away = {"host": "127.0.0.1", "port": port, "queue": "one", "bindings": ["one"]}
    daemon.configure(status={"look_interval_s": 0.2})
    daemon.service("one", rabbitmq=away)
    daemon.start()
    daemon.wait_for("one", "running")
    until(lambda: daemon.status()["services"][0]["state"] == "disconnected", "the lost broker")
    assert status(daemon, "--json") == DEGRADED
    shown = json.loads(capsys.readouterr().out)
    assert "Nobody listens at" in shown["queues"][0]["error"]
    assert shown["services"][0]["state"] == "disconnected"
    assert "cannot be asked" in shown["reason"]
