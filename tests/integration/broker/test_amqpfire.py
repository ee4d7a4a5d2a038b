from __future__ import annotations

import json
from pathlib import Path

import pytest

from amqpfire.__main__ import main
from lab.ports import free_ports
from lab.rabbitmq import Broker
from tests.integration.broker.harness import QUEUE, Client, running, wait_for
from uploaderd.broker.job import Job
from uploaderd.config.settings import BrokerSettings, QueueSettings
from uploaderd.errors import MessageError

REQUESTS = QueueSettings(name="requests", bindings=("host.request",))


@pytest.fixture
def flags(vhost: BrokerSettings, tmp_path: Path) -> list[str]:
    (tmp_path / "password").write_text(vhost.password.reveal())
    host, port = vhost.hosts[0]
    where = ["--server", host, "--port", str(port), "--vhost", vhost.virtual_host]
    who = ["--username", vhost.user, "--password-file", str(tmp_path / "password")]
    return ["-s", "host-request", *where, *who]


def test_a_confirmed_message_prints_ok(
    vhost: BrokerSettings, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with running(vhost, lambda job: None, REQUESTS, kind="host-request"):
        assert main([*flags, "-p", "host_id=1"]) == 0
    assert capsys.readouterr().out == "OK\n"


def test_the_answer_is_printed_with_the_masked_request(
    vhost: BrokerSettings, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def handle(job: Job) -> None:
        if job.body["host_id"] == 2:
            raise MessageError("No such host.")
        job.reply({"status": 1, "message": "", "id_host": job.body["host_id"]})

    with running(vhost, handle, REQUESTS, kind="host-request"):
        pairs = ["-p", "host_id=1", "user=fiscal", "passwd=canary"]
        assert main([*flags, *pairs, "--wait", "40"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["id_host"] == told["status"] == told["status_query"] == 1
        assert told["request"]["user"] == told["request"]["passwd"] == "*****"
        assert main([*flags, "-p", "host_id=2", "--wait", "40"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["status"], told["message"]) == (0, "No such host.")


def test_each_failure_has_its_exit_status(
    vhost: BrokerSettings, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["-p", "host_id=1"]
    assert main([*flags, *ask]) == 3
    assert "exchange uploaderd does not exist" in capsys.readouterr().err
    with running(vhost, lambda job: None, QUEUE):
        assert main([*flags, *ask]) == 3
        assert "No queue takes host.request" in capsys.readouterr().err
    with running(vhost, lambda job: None, REQUESTS, kind="host-request"):
        assert main([*flags, *ask, "--wait", "0.2"]) == 7
        assert json.loads(capsys.readouterr().out)["status_query"] == 0
    assert main([*flags, *ask, "--vhost", "nowhere"]) == 4
    assert "no virtual host 'nowhere'" in capsys.readouterr().err
    (tmp_path / "wrong").write_text("wrong")
    assert main([*flags, *ask, "--password-file", str(tmp_path / "wrong")]) == 4
    assert "wrong name or password" in capsys.readouterr().err
    assert main([*flags, *ask, "--port", str(free_ports(1)[0])]) == 5
    assert "Nobody listens" in capsys.readouterr().err
    assert main([*flags, *ask, "--password-file", str(tmp_path / "none")]) == 2


def test_what_the_broker_does_not_allow_or_does_not_take_has_exit_status_4(
    broker: Broker,
    vhost: BrokerSettings,
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = f"reader-{vhost.virtual_host}"
    broker.api("PUT", f"users/{name}", {"password": "reads", "tags": ""})
    nothing = {"configure": "^$", "write": "^$", "read": ".*"}
    broker.api("PUT", f"permissions/{vhost.virtual_host}/{name}", nothing)
    ask = ["-p", "host_id=1"]
    full = {"pattern": "^requests$", "apply-to": "queues", "priority": 9}
    with running(vhost, lambda job: None, REQUESTS, kind="host-request"):
        as_reader = ["--username", name, "--password", "reads"]
        without_file = [each for each in flags if each not in ("--password-file",)]
        without_file.remove(str(tmp_path / "password"))
        assert main([*without_file, *as_reader, *ask]) == 4
        assert "does not allow it" in capsys.readouterr().err
    # Nobody consumes any more: one message fills the queue.
    rule = {"definition": {"max-length": 1, "overflow": "reject-publish"}, **full}
    broker.api("PUT", f"policies/{vhost.virtual_host}/full", rule)
    statuses = [main([*flags, *ask]) for _ in range(20)]
    assert set(statuses) == {0, 4}
    assert "did not take the message" in capsys.readouterr().err
    broker.api("DELETE", f"users/{name}")


def test_options_as_amqp_publish_has_them(
    vhost: BrokerSettings, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[object] = []
    ask = ["--body", '{"host_id": 5}', "--persistent", "--content-type", "application/json"]
    with running(vhost, lambda job: seen.append(job.body), REQUESTS, kind="host-request"):
        assert main([*flags, *ask, "--heartbeat", "10"]) == 0
        assert main([*flags, *ask, "--routing-key", "nobody.listens"]) == 3
        assert "No queue takes nobody.listens" in capsys.readouterr().err
        wait_for(lambda: len(seen) == 1)
    assert seen == [{"host_id": 5}]


def test_a_csv_file_of_hosts_is_answered_line_by_line(
    vhost: BrokerSettings,
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hosts = tmp_path / "hosts.csv"
    hosts.write_text("host_id\n" + "\n".join(map(str, range(1, 31))) + "\n")
    with running(
        vhost, lambda job: job.reply({"status": 1, **job.body}), REQUESTS, kind="host-request"
    ):
        assert main([*flags, "--csv", str(hosts), "--wait", "40"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(line["host_id"] for line in told) == list(range(1, 31))
    assert Client(vhost).depth("requests") == 0
