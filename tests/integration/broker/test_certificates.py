"""Certificates that are out of date or for another name, on either side."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.certificates import Authority, Pair, authority
from lab.rabbitmq import Broker
from uploaderd.broker import desk
from uploaderd.config.settings import BrokerSettings, TlsSettings
from uploaderd.errors import BrokerError


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return authority(tmp_path / "ca")


@contextlib.contextmanager
def handshaking(pair: Pair) -> Iterator[int]:
    """A server that shakes hands with the certificate, and speaks no AMQP; gives its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, contextlib.suppress(OSError):
                    context.wrap_socket(client, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def refusal(settings: BrokerSettings) -> str:
    with pytest.raises(BrokerError) as caught, desk.channel(settings):
        raise AssertionError("the connection should not have come about")
    return str(caught.value)


def towards(port: int, ca: Authority) -> BrokerSettings:
    return BrokerSettings(hosts=(("127.0.0.1", port),), tls=TlsSettings(ca.certificate))


def test_a_broker_with_an_expired_certificate_is_refused(ca: Authority) -> None:
    with handshaking(ca.issue("old", days=-1)) as port:
        text = refusal(towards(port, ca))
    assert f"The certificate of the broker at 127.0.0.1:{port} has expired" in text


def test_a_broker_with_a_certificate_for_another_host_is_refused(ca: Authority) -> None:
    with handshaking(ca.issue("other", hosts="DNS:elsewhere.example")) as port:
        text = refusal(towards(port, ca))
    assert "is for another host name" in text
    assert "Use the name in the certificate as host" in text


def test_our_own_expired_certificate_is_named(broker: Broker, vhost: BrokerSettings) -> None:
    old = broker.authority.issue("expired", days=-1)
    files = TlsSettings(broker.authority.certificate, old.certificate, old.key)
    settings = dataclasses.replace(vhost, hosts=(("127.0.0.1", broker.tls_port),), tls=files)
    text = refusal(settings)
    assert "certificate" in text
    assert f"{old.certificate}" in text
    assert "has expired on 2" in text
