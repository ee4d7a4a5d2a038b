from __future__ import annotations

import json
import threading

import pika

from tests.integration.broker.harness import BODY, QUEUE, Client, running, wait_for
from uploaderd.broker.job import Job
from uploaderd.config.settings import BrokerSettings
from uploaderd.errors import BrokerError, MessageError, StationUnreachable


def test_a_message_is_handled_and_acknowledged(vhost: BrokerSettings) -> None:
    seen: list[Job] = []
    client = Client(vhost)
    with running(vhost, seen.append):
        client.publish(BODY, count=20)
        wait_for(lambda: len(seen) == 20)
    assert seen[0].body == BODY
    assert seen[0].attempt == 1
    assert {job.message_id for job in seen} == {f"m1-{n}" for n in range(20)}
    assert client.depth("backup") == 0


def test_follow_ups_are_confirmed_before_the_acknowledgement(vhost: BrokerSettings) -> None:
    def handle(job: Job) -> None:
        job.publish("publish", {"mode": "complete"}, headers={"x-a": 1})
        job.publish("publish", {"mode": "incremental"}, delay_s=0.5)
        job.publish_event("notify.info.backup", {"subject": "nobody listens"})

    client = Client(vhost)
    with running(vhost, handle):
        with client.channel() as channel:
            channel.queue_declare("p", durable=True)
            channel.queue_bind("p", vhost.exchange, "catalog.publish")
        client.publish(BODY)
        properties, body = wait_for(lambda: client.take("p"))
        assert json.loads(body) == {"mode": "complete"}
        assert properties.correlation_id == "m1"
        assert properties.headers["x-a"] == 1
        assert len(properties.message_id) == 32
        _, body = wait_for(lambda: client.take("p"))
        assert json.loads(body) == {"mode": "incremental"}
    assert client.depth("backup") == 0


def test_an_invalid_message_is_a_dead_letter_and_the_next_one_is_handled(
    vhost: BrokerSettings,
) -> None:
    seen: list[str] = []
    client = Client(vhost)
    with running(vhost, lambda job: seen.append(job.message_id)):
        client.publish(b"{nonsense", message_id="no-json")
        client.publish({"host_id": "{HOST.ID}", "host_add": "a"}, message_id="macro")
        client.publish(BODY, message_id="good")
        wait_for(lambda: seen == ["good"])
        dead = [wait_for(lambda: client.take("backup.dead")) for _ in range(2)]
    assert [p.message_id for p, _ in dead] == ["no-json", "macro"]
    assert dead[0][1] == b"{nonsense"
    assert dead[0][0].headers["x-uploaderd-code"] == "invalid_message"
    assert "HOST.ID" in dead[1][0].headers["x-uploaderd-error"]


def test_a_failure_is_tried_again_up_to_the_limit(vhost: BrokerSettings) -> None:
    attempts: list[int] = []

    def handle(job: Job) -> None:
        attempts.append(job.attempt)
        raise ValueError("what a pity")

    client = Client(vhost)
    with running(vhost, handle):
        client.publish(BODY)
        properties, body = wait_for(lambda: client.take("backup.dead"))
    assert attempts == [1, 2, 3]
    assert json.loads(body) == BODY
    headers = properties.headers
    assert headers["x-uploaderd-code"] == "unexpected"
    assert headers["x-uploaderd-error"] == "ValueError: what a pity"
    assert headers["x-uploaderd-failures"] == 3
    assert headers["x-uploaderd-service"] == "backup"
    assert len(headers["x-uploaderd-traceback"]) == 12
    assert float(headers["x-uploaderd-first-failure"]) <= float(headers["x-uploaderd-died-at"])


def test_not_now_is_tried_again_without_a_limit(vhost: BrokerSettings) -> None:
    attempts: list[int] = []

    def handle(job: Job) -> None:
        attempts.append(job.attempt)
        if job.attempt < QUEUE.retry_limit + 3:
            raise StationUnreachable("The link is down.")

    client = Client(vhost)
    with running(vhost, handle):
        client.publish(BODY)
        wait_for(lambda: len(attempts) == QUEUE.retry_limit + 3)
    assert attempts == list(range(1, QUEUE.retry_limit + 4))
    assert client.depth("backup.dead") == 0


def test_an_unroutable_follow_up_is_a_retry_and_not_a_loss(vhost: BrokerSettings) -> None:
    attempts: list[int] = []

    def handle(job: Job) -> None:
        attempts.append(job.attempt)
        job.publish("publish", {})

    client = Client(vhost)
    with running(vhost, handle):
        client.publish(BODY)
        wait_for(lambda: len(attempts) >= 2)
        with client.channel() as channel:
            channel.queue_declare("p", durable=True)
            channel.queue_bind("p", vhost.exchange, "catalog.publish")
        wait_for(lambda: client.take("p"))
    assert client.depth("backup.dead") == 0


def test_a_stop_ends_what_is_at_work_and_returns_the_rest(vhost: BrokerSettings) -> None:
    begun, go = threading.Event(), threading.Event()
    done: list[str] = []

    def handle(job: Job) -> None:
        begun.set()
        go.wait(60)
        assert job.stopping
        done.append(job.message_id)

    client = Client(vhost)
    stopper = threading.Timer(0, lambda: None)
    with running(vhost, handle):
        client.publish(BODY, count=3)
        assert begun.wait(40)
        stopper = threading.Timer(0.3, go.set)
        stopper.start()
    stopper.join()
    assert done == ["m1-0"]
    assert wait_for(lambda: client.depth("backup")) == 2


def test_a_request_that_fails_is_answered_with_status_0(vhost: BrokerSettings) -> None:
    def handle(job: Job) -> None:
        raise MessageError("No such host.")

    client = Client(vhost)
    with running(vhost, handle), client.channel() as channel:
        answers = channel.consume("amq.rabbitmq.reply-to", auto_ack=True, inactivity_timeout=40)
        next(channel.consume("amq.rabbitmq.reply-to", auto_ack=True, inactivity_timeout=0.01))
        channel.basic_publish(
            vhost.exchange,
            "host.backup",
            json.dumps(BODY).encode(),
            pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="c"),
        )
        _, properties, body = next(answers)
        assert json.loads(body) == {"status": 0, "message": "No such host."}
        assert properties.correlation_id == "c"


def test_a_handler_can_wait_for_its_follow_ups_before_it_goes_on(vhost: BrokerSettings) -> None:
    client = Client(vhost)
    seen: list[bytes] = []

    def handle(job: Job) -> None:
        job.publish("publish", {"mode": "complete"})
        job.confirm()
        taken = client.take("p")
        seen.append(taken[1] if taken else b"nothing")
        job.publish("publish", {"mode": "incremental"})

    with running(vhost, handle):
        with client.channel() as channel:
            channel.queue_declare("p", durable=True)
            channel.queue_bind("p", vhost.exchange, "catalog.publish")
        client.publish(BODY)
        last, body = wait_for(lambda: client.take("p") if seen else None)
    assert json.loads(seen[0]) == {"mode": "complete"}
    assert json.loads(body) == {"mode": "incremental"}
    assert last.message_id


def test_a_handler_learns_that_a_follow_up_finds_no_queue(vhost: BrokerSettings) -> None:
    client = Client(vhost)
    learnt: list[str] = []

    def handle(job: Job) -> None:
        job.publish("publish", {"mode": "complete"})
        try:
            job.confirm()
        except BrokerError as error:
            learnt.append(error.sentence)

    with running(vhost, handle):
        client.publish(BODY)
        wait_for(lambda: learnt)
    assert "No queue takes a message" in learnt[0]
