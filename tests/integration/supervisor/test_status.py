"""`uploaderctl status` says what is true, whatever happened to the daemon."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.supervisor.running import Daemon, daemon_in, until
from uploaderd.broker.depths import depths
from uploaderd.broker.runtime import Runtime
from uploaderd.config.settings import BrokerSettings, QueueSettings
from uploaderd.ctl.main import main
from uploaderd.errors import BrokerError


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
    assert shown["reason"] == "not every instance runs"
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
