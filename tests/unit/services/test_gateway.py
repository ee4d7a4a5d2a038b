from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lab.ports import free_ports
from uploaderd.config.settings import (
    BrokerSettings,
    DatabaseSettings,
    QueueSettings,
    ServiceSettings,
)
from uploaderd.errors import MessageError
from uploaderd.services.gateway import GatewayService, request_of


def gateway(broker: BrokerSettings, **behaviour: object) -> GatewayService:
    known = {"listen": "127.0.0.1", "port": 0, "answer_s": 20.0, "connections": 4}
    queue = QueueSettings(name="gateway", bindings=())
    made = ServiceSettings(
        *("gateway", "gateway", True, 1, {**known, **behaviour}),
        *(DatabaseSettings(), broker, queue),
    )
    return GatewayService(made)


@pytest.fixture
def port() -> Iterator[int]:
    """A gateway whose broker is away."""
    service = gateway(BrokerSettings(hosts=(("127.0.0.1", free_ports(1)[0]),)), answer_s=2.0)
    stop = threading.Event()
    thread = threading.Thread(target=service.run, args=(stop, lambda: None))
    thread.start()
    try:
        yield service.port
    finally:
        stop.set()
        thread.join()
        service.close()


def asked(port: int, line: bytes) -> dict[str, Any]:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as asking:
        asking.sendall(line)
        text = b""
        while more := asking.recv(4096):
            text += more
    assert text.startswith(b"<json>")
    assert text.endswith(b"</json>")
    told: dict[str, Any] = json.loads(text[6:-7])
    return told


def test_a_line_becomes_a_request_and_the_password_may_hold_spaces() -> None:
    body = request_of(b"backup 7 rfeye002218 10.0.0.7 2222 fiscal a b=c\r\n")
    assert body == {
        "query_tag": "backup",
        "host_id": 7,
        "host_uid": "rfeye002218",
        "host_add": "10.0.0.7",
        "host_port": 2222,
        "user": "fiscal",
        "passwd": "a b=c",
    }


@pytest.mark.parametrize("line", [b"", b"backup 7", b"\xff" * 9, b"dance 7 x 10.0.0.7 22 u p"])
def test_another_line_is_refused(line: bytes) -> None:
    with pytest.raises(MessageError):
        request_of(line)


def test_every_asker_gets_an_object_even_without_a_broker(port: int) -> None:
    told = asked(port, b"backup 7 x 10.0.0.7 22 fiscal canary\n")
    assert told["status"] == 0
    assert "Nobody listens" in told["message"]
    assert asked(port, b"hello\n")["status"] == 0
    assert asked(port, b"no end of the line")["status"] == 0
