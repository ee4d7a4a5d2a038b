from __future__ import annotations

import pika

from lab.rabbitmq import Broker
from uploaderd.config.settings import BrokerSettings


def test_a_virtual_host_of_the_private_broker_takes_a_quorum_queue(
    broker: Broker, vhost: BrokerSettings
) -> None:
    (host, port) = vhost.hosts[0]
    credentials = pika.PlainCredentials(vhost.user, vhost.password.reveal())
    parameters = pika.ConnectionParameters(host, port, vhost.virtual_host, credentials)
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True, arguments={"x-queue-type": "quorum"})
        assert channel.queue_declare("q", passive=True).method.message_count == 0
    assert any(v["name"] == vhost.virtual_host for v in broker.api("GET", "vhosts"))
