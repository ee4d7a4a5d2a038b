"""Bad messages to every queue of a running system: each is an answer, none is a crash."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pika
import pytest

from lab import system
from lab.system import ROOT, SERVICES, System
from uploaderd.broker import access
from uploaderd.messages import routing_key

CANARY = "canary-0815-secret"
BAD: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{nonsense",
    "no UTF-8": b"\xff\xfe\x00",
    "a list": b"[]",
    "NaN": b'{"host_id": NaN}',
    "a key twice": b'{"host_id": 1, "host_id": 2}',
    "a wrong type": b'{"host_id": [], "passwd": "%s"}' % CANARY.encode(),
    "an unknown key": b'{"host_idd": 1, "passwd": "%s"}' % CANARY.encode(),
    "a path out of the repository": json.dumps(
        {
            **{"file_id": "0" * 32, "host_id": 1, "host_uid": "a", "remote_path": "/a"},
            **{"size": 1, "mtime": 1.0, "sha256": "0" * 64, "verified": "size"},
            "path": "tmp/../../etc/passwd",
        }
    ).encode(),
    "deep": b"[" * 5000 + b"]" * 5000,
}


@pytest.mark.timeout(600)
def test_every_queue_takes_every_bad_message_as_a_dead_letter_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with system.running(tmp_path_factory.mktemp("system")) as running:
        running.broker_settings = {"retry_limit": 1, "prefetch": 8}
        running.configure()
        running.start_daemon()
        workers = _pids(running)
        for service in SERVICES:
            _publish(running, service)
        until = time.monotonic() + 120
        while (letters := _dead(running)) and len(letters) < len(SERVICES) * len(BAD):
            assert time.monotonic() < until, sorted(x["service"] for x in letters)
            time.sleep(0.5)
        assert _pids(running) == workers
        answer = running.ask("host-request", host_id=3, query_tag="catalog", host_add="10.0.0.1")
        assert answer["status"] == 1
        assert all(letter["code"] and letter["error"] for letter in letters)
        shown = json.dumps(letters).encode() + running.log.read_bytes()
        assert CANARY.encode() not in shown
        with running.catalog() as catalog:
            for table in ("hosts", "host_events", "files"):
                rows = catalog.query(f"SELECT * FROM {table}")
                assert CANARY not in repr(rows)


def _publish(running: System, service: str) -> None:
    settings = running.broker.settings
    parameters = access.parameters(settings, *settings.hosts[0], name="test")
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for name, body in BAD.items():
            properties = pika.BasicProperties(message_id=f"{service}: {name}", delivery_mode=2)
            channel.basic_publish(
                settings.exchange, routing_key(service), body, properties, mandatory=True
            )


def _dead(running: System) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "uploaderd.ctl.main", "dead", "list", "--json"]
    done = subprocess.run(
        [*command, "-s", str(running.services)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=ROOT,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _pids(running: System) -> set[str]:
    assert running.daemon is not None
    pid = running.daemon.pid
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:  # noqa: PTH123 - proc
        return set(children.read().split())
