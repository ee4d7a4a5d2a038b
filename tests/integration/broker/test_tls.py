"""TLS towards a broker that demands client certificates: what works, and each way it is wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lab.certificates import authority
from lab.ports import free_ports
from lab.rabbitmq import Broker
from tests.integration.broker.harness import BODY, Client, running, wait_for
from uploaderd.broker import access, desk
from uploaderd.config.settings import BrokerSettings, TlsSettings
from uploaderd.errors import BrokerError, ConfigError


@pytest.fixture
def tls(broker: Broker, vhost: BrokerSettings) -> BrokerSettings:
    client = broker.authority.issue("client")
    files = TlsSettings(broker.authority.certificate, client.certificate, client.key)
    return dataclasses.replace(vhost, hosts=(("127.0.0.1", broker.tls_port),), tls=files)


def refusal(settings: BrokerSettings) -> str:
    with pytest.raises(BrokerError) as caught, desk.channel(settings):
        raise AssertionError("the connection should not have come about")
    return str(caught.value)


def test_a_runtime_works_over_tls_with_a_client_certificate(
    tls: BrokerSettings, vhost: BrokerSettings
) -> None:
    seen: list[str] = []
    with running(tls, lambda job: seen.append(job.message_id)):
        Client(vhost).publish(BODY)
        wait_for(lambda: seen == ["m1"])


def test_each_wrong_way_to_the_broker_has_its_sentence(
    broker: Broker, tls: BrokerSettings, vhost: BrokerSettings, tmp_path: Path
) -> None:
    files = tls.tls
    assert files is not None
    stranger = authority(tmp_path / "other", "stranger")
    theirs = stranger.issue("client")

    def with_files(**changes: Path | None) -> BrokerSettings:
        return dataclasses.replace(tls, tls=dataclasses.replace(files, **changes))

    wrong_ca = refusal(with_files(ca_file=stranger.certificate))
    assert "not signed by a trusted authority" in wrong_ca
    assert str(stranger.certificate) in wrong_ca
    none = refusal(with_files(certificate=None, key=None))
    assert "client certificate" in none or "asks for one" in none
    foreign = refusal(with_files(certificate=theirs.certificate, key=theirs.key))
    assert "certificate" in foreign
    plain_port = dataclasses.replace(tls, hosts=vhost.hosts)
    assert "does not speak TLS" in refusal(plain_port)
    without = refusal(dataclasses.replace(tls, tls=None))
    assert "port for TLS" in without or "broke" in without
    nobody = dataclasses.replace(tls, hosts=(("127.0.0.1", free_ports(1)[0]),))
    assert "Nobody listens" in refusal(nobody)
    unknown = dataclasses.replace(vhost, hosts=(("no-such-host.invalid", 5672),))
    assert "is not known" in refusal(unknown)


@pytest.mark.parametrize("which", ["ca_file", "certificate", "key"])
def test_a_missing_file_is_named(tmp_path: Path, which: str) -> None:
    pair = authority(tmp_path).issue("client")
    files = TlsSettings(tmp_path / "throw-away-ca.pem", pair.certificate, pair.key)
    with pytest.raises(ConfigError, match=f"does not exist: {tmp_path}/none"):
        access.tls_context(dataclasses.replace(files, **{which: tmp_path / "none"}))


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    one, two = ca.issue("one"), ca.issue("two")
    with pytest.raises(ConfigError, match="does not belong to the certificate"):
        access.tls_context(TlsSettings(ca.certificate, one.certificate, two.key))
    with pytest.raises(ConfigError, match="holds no certificate"):
        access.tls_context(TlsSettings(one.key))
    with pytest.raises(ConfigError, match="no usable PEM pair"):
        access.tls_context(TlsSettings(ca.certificate, one.key, one.key))
    with pytest.raises(ConfigError, match="no certificate that goes with it"):
        access.tls_context(TlsSettings(ca.certificate, None, one.key))
