"""What the runtime is compared with: pika alone, doing the least that the same work takes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import pika

from uploaderd.broker import access
from uploaderd.config.settings import BrokerSettings

POLLERS_BATCH = 10
POLLERS_SLEEP_S = 1.0


def parameters(settings: BrokerSettings) -> Any:
    """Connection parameters for the first host."""
    return access.parameters(settings, *settings.hosts[0], name="bench")


def consume(settings: BrokerSettings, queue: str, count: int, prefetch: int) -> float:
    """Messages a second of a callback that acknowledges."""
    seen = 0
    first = last = 0.0

    def on_message(channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        nonlocal seen, first, last
        channel.basic_ack(method.delivery_tag)
        seen += 1
        if seen == 1:
            first = time.perf_counter()
        elif seen == count:
            last = time.perf_counter()
            connection.close()

    def on_channel(channel: Any) -> None:
        channel.basic_qos(prefetch_count=prefetch)
        channel.basic_consume(queue, on_message)

    connection = pika.SelectConnection(
        parameters(settings),
        on_open_callback=lambda opened: opened.channel(on_open_callback=on_channel),
        on_close_callback=lambda closed, _reason: closed.ioloop.stop(),
    )
    connection.ioloop.start()
    connection.ioloop.close()
    return count / (last - first)


def publish(settings: BrokerSettings, message: Mapping[str, Any], count: int, batch: int) -> float:
    """Messages a second, written as JSON, published in batches, each batch confirmed.

    The properties are those that the runtime gives a follow-up: both send the same bytes.
    """
    published = confirmed = 0
    first = last = 0.0

    def send(channel: Any) -> None:
        nonlocal published
        for number in range(published, published + batch):
            properties = pika.BasicProperties(
                content_type="application/json",
                delivery_mode=2,
                message_id=f"bench-{number:026}",
                correlation_id="bench",
                timestamp=int(time.time()),
                app_id="uploaderd",
            )
            body = json.dumps(message).encode()
            channel.basic_publish(settings.exchange, "host.backup", body, properties, True)
        published += batch

    def on_channel(channel: Any) -> None:
        nonlocal first

        def on_confirm(frame: Any) -> None:
            nonlocal confirmed, last
            method = frame.method
            confirmed = method.delivery_tag if method.multiple else confirmed + 1
            if confirmed < published:
                return
            if published < count:
                send(channel)
            else:
                last = time.perf_counter()
                connection.close()

        channel.confirm_delivery(on_confirm)
        first = time.perf_counter()
        send(channel)

    connection = pika.SelectConnection(
        parameters(settings),
        on_open_callback=lambda opened: opened.channel(on_open_callback=on_channel),
        on_close_callback=lambda closed, _reason: closed.ioloop.stop(),
    )
    connection.ioloop.start()
    connection.ioloop.close()
    return count / (last - first)


def poll(settings: BrokerSettings, queue: str, count: int) -> float:
    """basic_get in turns: some messages, each acknowledged, then a pause."""
    taken = 0
    with pika.BlockingConnection(parameters(settings)) as connection:
        channel = connection.channel()
        begun = time.perf_counter()
        while taken < count:
            for _ in range(POLLERS_BATCH):
                method, _properties, _body = channel.basic_get(queue)
                if method is not None:
                    channel.basic_ack(method.delivery_tag)
                    taken += 1
            connection.sleep(POLLERS_SLEEP_S)
        return count / (time.perf_counter() - begun)
