"""What a worker adds to the handling of a message, and how it finds its service."""

from __future__ import annotations

import json
import logging
import socket
import threading
from pathlib import Path

import pika
import pytest

from tests.integration.supervisor.running import until
from uploaderd import worker
from uploaderd.broker import access
from uploaderd.broker.job import Job
from uploaderd.broker.runtime import Runtime
from uploaderd.config.settings import BrokerSettings, LoggingSettings, QueueSettings
from uploaderd.errors import ConfigError, StationError
from uploaderd.observe.logs import configure
from uploaderd.supervisor.reports import LineBuffer, Reporter


def test_messages_are_counted_and_events_reported(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reporter = Reporter(theirs)

        def handle(job: Job) -> None:
            if job.body["host_id"] == 2:
                raise StationError("no")
            job.publish_event("notify.error.backup", {"subject": "s"})

        observed = worker._observed(handle, reporter)
        observed(Job({"host_id": 1}))
        with pytest.raises(StationError):
            observed(Job({"host_id": 2}))
        reporter.beat()
        reporter.last()
        event, beat, last = LineBuffer().feed(ours.recv(65536))
    assert (event["routing_key"], event["body"]) == ("notify.error.backup", {"subject": "s"})
    assert last == {"tell": "beat"}
    assert beat["counts"]['message_seconds_count{outcome="done"}'] >= 1
    assert beat["counts"]['message_seconds_count{outcome="failed"}'] >= 1


def test_an_event_that_went_out_before_the_job_failed_is_reported_once() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def handle(job: Job) -> None:
            job.publish_event("notify.critical.backup", {"subject": "s"})
            job.confirm()
            raise StationError("no")

        with pytest.raises(StationError):
            worker._observed(handle, Reporter(theirs))(Job({"host_id": 1}))
        (event,) = LineBuffer().feed(ours.recv(65536))
    assert (event["routing_key"], event["body"]) == ("notify.critical.backup", {"subject": "s"})


def test_a_worker_without_supervisor_goes_on() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        reporter = Reporter(theirs)
        reporter.ready()
        reporter.beat()
        Reporter(None).ready()


def test_lines_of_the_log_name_message_and_host_through_the_real_runtime(
    vhost: BrokerSettings, tmp_path: Path
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    configure(LoggingSettings("json", console=False, file=tmp_path / "log"), "backup[1]")
    handled = threading.Event()
    stop = threading.Event()

    def handle(job: Job) -> None:
        logging.getLogger("x").info("at work")
        handled.set()

    runtime = Runtime(
        vhost,
        QueueSettings("b", ("host.backup",)),
        "backup",
        worker._observed(handle, Reporter(None)),
    )
    thread = threading.Thread(target=runtime.run, args=(stop,))
    thread.start()
    try:
        until(lambda: runtime.connected, "the queue")
        host, port = vhost.hosts[0]
        connection = pika.BlockingConnection(access.parameters(vhost, host, port))
        connection.channel().basic_publish(
            vhost.exchange,
            "host.backup",
            json.dumps({"host_id": 7, "host_add": "h", "host_port": 22, "user": "u"}).encode(),
            pika.BasicProperties(message_id="m1", content_type="application/json"),
        )
        connection.close()
        assert handled.wait(40)
    finally:
        stop.set()
        thread.join()
        for handler in root.handlers:
            handler.close()
        root.handlers, root.level = handlers, level
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    line = next(line for line in lines if line["text"] == "at work")
    assert (line["message"], line["host"]) == ("m1", "7")


def test_unknown_services_are_refused() -> None:
    with pytest.raises(ConfigError, match="no service is registered as nothing"):
        worker.service_class("nothing")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        worker.service_class("uploaderd.nothing:Here")
