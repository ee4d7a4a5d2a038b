"""The TCP gateway between an older script and a real broker."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.broker.harness import running
from uploaderd.broker.job import Job
from uploaderd.config.settings import (
    BrokerSettings,
    DatabaseSettings,
    QueueSettings,
    ServiceSettings,
)
from uploaderd.errors import MessageError
from uploaderd.secret import Secret
from uploaderd.services.gateway import GatewayService

REQUESTS = QueueSettings(name="requests", bindings=("host.request",))
LINE = b"backup 7 rfeye002218 10.0.0.7 22 fiscal canary one\n"


@contextlib.contextmanager
def gateway(broker: BrokerSettings, answer_s: float = 40.0) -> Iterator[int]:
    """A gateway that serves; gives its port."""
    behaviour = {"listen": "127.0.0.1", "port": 0, "answer_s": answer_s, "connections": 8}
    queue = QueueSettings(name="gateway", bindings=())
    settings = ServiceSettings(
        *("gateway", "gateway", True, 1, behaviour), *(DatabaseSettings(), broker, queue)
    )
    service, stop = GatewayService(settings), threading.Event()
    thread = threading.Thread(target=service.run, args=(stop, lambda: None))
    thread.start()
    try:
        yield service.port
    finally:
        stop.set()
        thread.join()
        service.close()


def asked(port: int, line: bytes) -> dict[str, Any]:
    with socket.create_connection(("127.0.0.1", port), timeout=90) as asking:
        asking.sendall(line)
        text = b"".join(iter(lambda: asking.recv(4096), b""))
    assert text.startswith(b"<json>")
    assert text.endswith(b"</json>")
    told: dict[str, Any] = json.loads(text[6:-7])
    return told


def test_an_older_script_gets_the_daemons_answer_and_its_refusals(
    vhost: BrokerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bodies: list[dict[str, Any]] = []

    def handle(job: Job) -> None:
        bodies.append(job.body)
        if job.body["host_id"] == 8:
            raise MessageError("No such host.")
        job.reply({"status": 1, "message": "", "id_host": job.body["host_id"], "host_files": 3})

    with running(vhost, handle, REQUESTS, kind="host-request"), gateway(vhost) as port:
        told = asked(port, LINE)
        assert (told["status"], told["status_query"], told["id_host"]) == (1, 1, 7)
        assert told["host_files"] == 3
        told = asked(port, LINE.replace(b" 7 ", b" 8 "))
        assert (told["status"], told["message"]) == (0, "No such host.")
        with ThreadPoolExecutor(16) as pool:
            lines = [LINE.replace(b" 7 ", b" %d " % number) for number in range(100, 116)]
            told_all = list(pool.map(lambda line: asked(port, line), lines))
        assert [each["id_host"] for each in told_all] == list(range(100, 116))
    assert bodies[0] == {
        **{"query_tag": "backup", "host_id": 7, "host_uid": "rfeye002218", "host_port": 22},
        **{"host_add": "10.0.0.7", "user": "fiscal", "passwd": "canary one"},
    }
    assert "canary" not in caplog.text


def test_what_goes_wrong_at_the_broker_is_an_object_too(vhost: BrokerSettings) -> None:
    wrong = dataclasses.replace(vhost, password=Secret("wrong"))
    with gateway(wrong) as port:
        told = asked(port, LINE)
        assert told["status"] == 0
        assert "wrong name or password" in told["message"]
    with gateway(dataclasses.replace(vhost, virtual_host="nowhere")) as port:
        assert "no virtual host" in asked(port, LINE)["message"]
    with gateway(vhost, answer_s=0.5) as port:
        assert "has the daemon ever run" in asked(port, LINE)["message"]
        with running(vhost, lambda job: None, REQUESTS, kind="host-request"):
            told = asked(port, LINE)
            assert told == {"status": 0, "message": "Sent, but no answer came within 0.5 s."}
