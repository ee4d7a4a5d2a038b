"""Which retry a broker gets, by its version and the settings: no 4.3 broker is at hand to ask."""

from __future__ import annotations

from typing import Any

import pytest

from uploaderd.broker import retry, topology
from uploaderd.broker.features import Features
from uploaderd.broker.quarantine import refuse_poison
from uploaderd.broker.retry import GiveBack, QuarantinedError, Received
from uploaderd.config.settings import BrokerSettings, QueueSettings
from uploaderd.errors import CatalogError, MessageError

OLD, NEW = Features("RabbitMQ", (3, 10, 8)), Features("RabbitMQ", (4, 3, 0))
BROKER = BrokerSettings()
QUEUE = QueueSettings(name="backup", bindings=(), retry_limit=3, retry_by="broker")


@pytest.mark.parametrize(
    ("properties", "version", "delayed"),
    [
        ({"product": "RabbitMQ", "version": "3.10.8"}, (3, 10, 8), False),
        ({"product": b"RabbitMQ", "version": b"4.2.1"}, (4, 2, 1), False),
        ({"product": "RabbitMQ", "version": "4.3.0"}, (4, 3, 0), True),
        ({"product": "RabbitMQ", "version": "4.10.0-rc.1+7"}, (4, 10, 0), True),
        ({"product": "RabbitMQ", "version": "5"}, (5,), True),
        ({"product": "LavinMQ", "version": "4.3.0"}, (4, 3, 0), False),
        ({"product": "RabbitMQ", "version": "next"}, (), False),
        ({}, (), False),
        (None, (), False),
    ],
)
def test_a_broker_is_known_by_what_it_says_of_itself(
    properties: dict[str, Any] | None, version: tuple[int, ...], delayed: bool
) -> None:
    features = Features.of(properties)
    assert (features.version, features.delayed_retry) == (version, delayed)


@pytest.mark.parametrize("features", [OLD, Features()])
def test_an_older_broker_gets_our_own_retry_queues(features: Features) -> None:
    outcome = retry.outcome(CatalogError("away"), Received(b"{}", "1"), BROKER, QUEUE, features)
    assert not isinstance(outcome, GiveBack)
    assert outcome[0].routing_key == "backup.retry.5s"


def test_a_newer_broker_delays_itself_if_the_settings_say_so() -> None:
    received = Received(b"{}", "1")
    assert retry.outcome(CatalogError("away"), received, BROKER, QUEUE, NEW) == GiveBack(False)
    assert retry.outcome(ValueError("odd"), received, BROKER, QUEUE, NEW) == GiveBack(True)
    own = QueueSettings(name="backup", bindings=())
    assert not isinstance(retry.outcome(ValueError(), received, BROKER, own, NEW), GiveBack)


def test_the_brokers_count_leads_to_a_dead_letter_at_the_limit() -> None:
    headers = {"x-acquired-count": 7, "x-delivery-count": 2}
    received = Received(b'{"host_id": 5, "remote_path": "/a"}', "1", headers=headers)
    assert (received.attempt, received.failures) == (8, 2)
    outcome = retry.outcome(ValueError("odd"), received, BROKER, QUEUE, NEW)
    assert not isinstance(outcome, GiveBack)
    letter = outcome[0]
    assert letter.exchange == "uploaderd.dead"
    assert letter.headers[retry.FAILURES] == 3
    assert (letter.headers[retry.HOST], letter.headers[retry.FILE]) == ("5", "/a")
    assert not [name for name in letter.headers if name.startswith("x-") and "count" in name]
    # What is not now waits without a limit.
    assert retry.outcome(CatalogError("away"), received, BROKER, QUEUE, NEW) == GiveBack(False)


def test_what_never_can_succeed_is_a_dead_letter_on_every_broker() -> None:
    for features in (OLD, NEW):
        outcome = retry.outcome(MessageError("bad"), Received(b"x", "1"), BROKER, QUEUE, features)
        assert not isinstance(outcome, GiveBack)
        assert outcome[0].exchange == "uploaderd.dead"


def test_before_4_3_the_brokers_count_of_deliveries_is_not_one_of_failures() -> None:
    assert Received(b"", "1", headers={"x-delivery-count": 4}).failures == 0


def test_the_queue_has_the_delay_as_argument_only_if_the_broker_is_to_see_to_it() -> None:
    def arguments(queue: QueueSettings) -> dict[str, Any]:
        parts = topology.plan(BROKER, queue)
        return dict(
            next(p for p in parts if isinstance(p, topology.Queue) and p.name == "backup").arguments
        )

    assert arguments(QueueSettings(name="backup", bindings=())) == {"x-queue-type": "quorum"}
    assert arguments(QUEUE) == {
        "x-queue-type": "quorum",
        "x-delivery-limit": topology.UNLIMITED,
        "x-delayed-retry-type": "all",
        "x-delayed-retry-min": 5000,
        "x-delayed-retry-max": 600_000,
    }


def test_what_was_given_back_as_failed_is_no_poison_below_its_own_limit() -> None:
    old = {"x-delivery-count": 15}
    new = {**old, "x-acquired-count": 15}
    with pytest.raises(QuarantinedError, match="15 times"):
        refuse_poison(None, Received(b"", "1", headers=old), 5)
    refuse_poison(None, Received(b"", "1", headers=new), 5)
    with pytest.raises(QuarantinedError, match="20 times"):
        refuse_poison(None, Received(b"", "1", headers=new | {"x-delivery-count": 20}), 5)
