"""The daemon as real processes: killed, hung, reloaded, drained."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.smtp import MailServer
from tests.integration.supervisor.running import CANARY, ROOT, Daemon, alive, daemon_in, until


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with daemon_in(tmp_path) as daemon:
        yield daemon


def test_a_killed_worker_is_replaced_and_has_a_title(daemon: Daemon) -> None:
    daemon.service("one")
    daemon.start()
    pid = daemon.wait_for("one", "running")
    assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"uploaderd: one[1]")
    os.kill(pid, signal.SIGKILL)
    daemon.wait_for("one", "running", other_than=pid)
    assert daemon.instance("one")["restarts"] == 1
    assert "it was ended by SIGKILL" in daemon.log()
    assert daemon.stop() == 0


def test_a_crash_loop_fails_alone_and_a_reload_tries_again(daemon: Daemon) -> None:
    bad = daemon.service("bad")
    (bad / "die").touch()
    daemon.service("good")
    daemon.start()
    good = daemon.wait_for("good", "running")
    daemon.wait_for("bad", "failed")
    failed = daemon.instance("bad")
    assert failed["restarts"] == 4
    assert "5 deaths within 300 s; the last: it ended by itself with status 3" in failed["reason"]
    assert daemon.status()["health"] == 1
    assert alive(good)
    (bad / "die").unlink()
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("bad", "running")
    assert daemon.wait_for("good", "running") == good
    assert daemon.stop() == 0


def test_sigterm_lets_the_work_in_hand_finish(daemon: Daemon) -> None:
    own = daemon.service("one", instances=2, behaviour={"drain_s": 1})
    daemon.start()
    pids = {daemon.wait_for("one", "running", number) for number in (1, 2)}
    assert daemon.stop() == 0
    assert {int(path.suffix[1:]) for path in own.glob("drained.*")} == pids
    assert not any(alive(pid) for pid in pids)


def test_work_that_does_not_end_is_killed_at_the_deadline(daemon: Daemon) -> None:
    daemon.configure(
        supervision={"stop_timeout_s": 0.2, "status_interval_s": 0.1, "restart_delay_s": 0.1}
    )
    own = daemon.service("one", behaviour={"drain_s": 1000})
    daemon.start()
    pid = daemon.wait_for("one", "running")
    assert daemon.stop() == 0
    assert not alive(pid)
    assert not list(own.glob("drained.*"))


def test_workers_end_by_themselves_when_the_supervisor_is_killed(daemon: Daemon) -> None:
    own = daemon.service("one", instances=2)
    daemon.start()
    pids = [daemon.wait_for("one", "running", number) for number in (1, 2)]
    daemon.signal(signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids), "the end of the workers")
    assert len(list(own.glob("drained.*"))) == 2


def test_a_frozen_worker_too_ends_when_the_supervisor_is_killed(daemon: Daemon) -> None:
    own = daemon.service("one")
    daemon.start()
    pid = daemon.wait_for("one", "running")
    os.kill(pid, signal.SIGSTOP)
    daemon.signal(signal.SIGKILL)
    until(lambda: not alive(pid), "the end of the worker")
    assert (own / f"drained.{pid}").exists()


def test_a_hung_worker_leaves_its_stacks_and_is_replaced(daemon: Daemon) -> None:
    own = daemon.service("one", limits={"watchdog_s": 3})
    daemon.start()
    pid = daemon.wait_for("one", "running")
    (own / "hang").touch()
    daemon.wait_for("one", "running", other_than=pid)
    assert "no progress for 3 s" in daemon.log()
    assert "dummy.py" in daemon.log()
    assert daemon.stop() == 0


def test_a_stopped_worker_is_replaced(daemon: Daemon) -> None:
    daemon.service("one", limits={"watchdog_s": 3})
    daemon.start()
    pid = daemon.wait_for("one", "running")
    os.kill(pid, signal.SIGSTOP)
    daemon.wait_for("one", "running", other_than=pid)
    assert not alive(pid)
    assert daemon.stop() == 0


def test_an_instance_over_its_age_is_drained_and_replaced(daemon: Daemon) -> None:
    own = daemon.service("one", limits={"age_s": 2})
    daemon.start()
    pid = daemon.wait_for("one", "running")
    daemon.wait_for("one", "running", other_than=pid)
    assert (own / f"drained.{pid}").exists()
    assert "age limit" in daemon.log()
    assert daemon.stop() == 0


def test_an_instance_over_its_memory_is_drained_and_replaced(daemon: Daemon) -> None:
    own = daemon.service("one", limits={"memory_mb": 150})
    daemon.start()
    pid = daemon.wait_for("one", "running")
    (own / "hoard").touch()
    other = daemon.wait_for("one", "running", other_than=pid)
    assert (own / f"drained.{pid}").exists()
    assert "memory limit" in daemon.log()
    assert daemon.wait_for("one", "running") == other
    assert daemon.stop() == 0


def test_sigusr1_writes_the_state_of_every_instance_to_the_log(daemon: Daemon) -> None:
    daemon.service("one")
    daemon.service("two", instances=2)
    daemon.start()
    pids = [daemon.wait_for(name, "running", n) for name, n in (("one", 1), ("two", 1), ("two", 2))]
    daemon.signal(signal.SIGUSR1)
    until(lambda: daemon.log().count("state of ") == 3, "three states")
    for name, pid in zip(("one[1]", "two[1]", "two[2]"), pids, strict=True):
        assert f"state of {name}" in daemon.log()
        assert f"'pid': {pid}" in daemon.log()
    assert daemon.stop() == 0


def test_a_storm_of_kills_leaves_no_zombie_and_every_instance_running(daemon: Daemon) -> None:
    daemon.configure(
        supervision={
            **{"restart_delay_s": 0.1, "restart_delay_max_s": 0.1, "status_interval_s": 0.1},
            "crash_limit": 1000,
        }
    )
    daemon.service("one", instances=3)
    daemon.start()
    assert daemon.process is not None
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    for _ in range(5):
        running = {number: daemon.wait_for("one", "running", number) for number in (1, 2, 3)}
        for pid in running.values():
            os.kill(pid, signal.SIGKILL)
        for number, pid in running.items():
            daemon.wait_for("one", "running", number, other_than=pid)
    living = {daemon.wait_for("one", "running", number) for number in (1, 2, 3)}
    assert set(map(int, children.read_text().split())) == living
    assert all(alive(pid) for pid in living)
    assert daemon.stop() == 0


def test_a_reload_touches_only_what_changed(daemon: Daemon) -> None:
    daemon.service("same")
    daemon.service("more")
    daemon.service("gone")
    daemon.service("changed")
    daemon.start()
    before = {n: daemon.wait_for(n, "running") for n in ("same", "more", "gone", "changed")}
    (daemon.services / "gone.json").unlink()
    daemon.service("more", instances=2)
    daemon.service("changed", limits={"watchdog_s": 77})
    daemon.service("new")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("new", "running")
    daemon.wait_for("more", "running", 2)
    daemon.wait_for("changed", "running", other_than=before["changed"])
    daemon.wait_for("gone", "absent")
    assert daemon.wait_for("same", "running") == before["same"]
    assert daemon.wait_for("more", "running") == before["more"]
    assert daemon.stop() == 0


def test_an_invalid_reload_is_refused_and_restarts_use_the_old_configuration(
    daemon: Daemon,
) -> None:
    daemon.service("one")
    daemon.start()
    pid = daemon.wait_for("one", "running")
    daemon.service("one", instances=0)
    daemon.signal(signal.SIGHUP)
    error = until(lambda: daemon.status().get("reload_error"), "the refusal")
    assert "one.json:1: instances: expected at least 1" in error
    os.kill(pid, signal.SIGKILL)
    daemon.wait_for("one", "running", other_than=pid)
    assert daemon.stop() == 0


def test_a_wrong_configuration_is_one_line_and_status_1(daemon: Daemon) -> None:
    daemon.service("one", instnces=2)
    for more in ((), ("--check",)):
        done = subprocess.run(
            daemon.command(*more), check=False, cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "one.json:1: instnces: unknown key; did you mean instances?" in done.stderr
    daemon.service("one")
    subprocess.run(daemon.command("--check"), check=True, cwd=ROOT, timeout=60)


def test_no_secret_shows_in_log_status_pages_or_process_list(daemon: Daemon) -> None:
    daemon.configure(
        http={"enabled": True, "port": 0},
        logging={"format": "json", "level": "debug"},
        supervision={"status_interval_s": 0.1},
    )
    daemon.service("one")
    daemon.start()
    pid = daemon.wait_for("one", "running")
    daemon.signal(signal.SIGUSR1)
    until(lambda: "state of one[1]" in daemon.log(), "the dump")
    assert "settings:" in daemon.log()
    address = f"http://127.0.0.1:{daemon.status()['http_port']}"
    pages = ""
    for page in ("/metrics", "/healthz", "/status.json"):
        with urllib.request.urlopen(address + page, timeout=20) as answer:
            pages += answer.read().decode()
    assert 'uploaderd_up{service="one",instance="1"} 1' in pages
    assert daemon.process is not None
    shown = [pages, daemon.log(), json.dumps(daemon.status())]
    for process in (pid, daemon.process.pid):
        shown += [Path(f"/proc/{process}/{f}").read_text() for f in ("cmdline", "environ")]
    assert not any(CANARY in text for text in shown)
    for line in daemon.log().splitlines():
        assert json.loads(line)["level"]
    assert daemon.stop() == 0


def test_systemd_hears_ready_status_watchdog_reloading_and_stopping(
    daemon: Daemon, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        # A socket's path is limited to 108 bytes: an abstract name is not.
        listener.bind(f"\0uploaderd-test-{os.getpid()}")
        listener.settimeout(40)
        daemon.service("one")
        daemon.start(
            NOTIFY_SOCKET=f"@uploaderd-test-{os.getpid()}",
            WATCHDOG_USEC="400000",
            JOURNAL_STREAM="1:2",
        )
        heard: set[str] = set()

        def hear(beginning: str) -> None:
            while not any(line.startswith(beginning) for line in heard):
                heard.update(listener.recv(4096).decode().splitlines())

        hear("READY=1")
        hear("STATUS=1 of 1")
        hear("WATCHDOG=1")
        daemon.signal(signal.SIGHUP)
        hear("RELOADING=1")
        daemon.signal(signal.SIGTERM)
        hear("STOPPING=1")
        assert daemon.process is not None
        assert daemon.process.wait(40) == 0
    assert daemon.log().startswith("<6>")


def test_a_failed_instance_is_mailed_and_so_is_its_recovery(daemon: Daemon) -> None:
    with MailServer() as server:
        mail = {
            "host": "127.0.0.1",
            "port": server.port,
            "sender": "uploaderd@here",
            "recipients": ["ops@there"],
            "digest_s": 0,
        }
        daemon.configure(notifier={"mail": mail})
        own = daemon.service("one")
        (own / "die").touch()
        daemon.start()
        until(lambda: server.mails, "the mail of the failure")
        assert "critical: one[1] has failed" in server.mails[0]
        (own / "die").unlink()
        daemon.signal(signal.SIGHUP)
        until(lambda: len(server.mails) == 2, "the mail of the recovery")
        assert "cleared: one[1] has failed" in server.mails[1]
        assert daemon.stop() == 0
