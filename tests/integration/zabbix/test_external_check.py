from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from amqpfire import zabbix
from lab.ports import free_ports
from lab.rabbitmq import Broker
from tests.fixtures.check import one_file
from tests.integration.broker.harness import running
from uploaderd.broker.job import Job
from uploaderd.config.settings import BrokerSettings, QueueSettings
from uploaderd.errors import MessageError


def test_the_check_gives_the_daemons_answer_and_its_refusals(
    vhost: BrokerSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def handle(job: Job) -> None:
        if job.body["host_id"] == 2:
            raise MessageError("No such host.")
        job.reply({"status": 1, "message": "", "id_host": job.body["host_id"], "host_files": "N/A"})

    host, port = vhost.hosts[0]
    config = tmp_path / "zabbix.json"
    section = {
        "host": host,
        "port": port,
        "vhost": vhost.virtual_host,
        "user": vhost.user,
        "password": vhost.password.reveal(),
    }
    config.write_text(json.dumps({"rabbitmq": section}))
    ask = [f"config={config}", "user=fiscal", "passwd=canary", "timeout=30"]
    queue = QueueSettings(name="requests", bindings=("host.request",))
    with running(vhost, handle, queue, kind="host-request"):
        assert zabbix.main(["host_id=1", *ask]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["status_query"], told["status"], told["id_host"]) == (1, 1, 1)
        assert told["request"]["user"] == told["request"]["passwd"] == "*****"
        assert zabbix.main(["host_id=2", *ask]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["status_query"], told["status"], told["message"]) == (1, 0, "No such host.")
        assert "id_host" not in told


def test_writing_on_the_exchange_is_right_enough(
    broker: Broker, vhost: BrokerSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, config = f"zabbix-{vhost.virtual_host}", tmp_path / "zabbix.json"
    broker.api("PUT", f"users/{name}", {"password": "asks", "tags": ""})
    least = {"configure": "^$", "write": "^uploaderd$", "read": "^$"}
    broker.api("PUT", f"permissions/{vhost.virtual_host}/{name}", least)
    section = {"port": vhost.hosts[0][1], "vhost": vhost.virtual_host}
    config.write_text(json.dumps({"rabbitmq": {**section, "user": name, "password": "asks"}}))
    queue = QueueSettings(name="requests", bindings=("host.request",))
    try:
        with running(vhost, lambda job: job.reply({"status": 1}), queue, kind="host-request"):
            assert zabbix.main(["host_id=1", f"config={config}", "timeout=30"]) == 0
        assert json.loads(capsys.readouterr().out)["status"] == 1
    finally:
        broker.api("DELETE", f"users/{name}")


def test_the_one_file_alone_gives_the_answer_or_says_why_there_is_none(
    vhost: BrokerSettings, tmp_path: Path
) -> None:
    check, config = one_file(tmp_path / "uploaderd-zabbix-request"), tmp_path / "zabbix.json"
    section = {"port": vhost.hosts[0][1], "vhost": vhost.virtual_host, "user": vhost.user}
    (tmp_path / "secret").write_text(vhost.password.reveal())
    config.write_text(json.dumps({"rabbitmq": {**section, "password_file": "secret"}}))

    def ask(*pairs: str) -> dict[str, object]:
        """Runs the file as Zabbix does: in no folder of ours, with no environment of ours."""
        secrets = ("user=fiscal", "passwd=canary", f"config={config}")
        done = subprocess.run(
            [check, *pairs, *secrets],
            cwd="/",
            env={},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "canary" not in done.stdout
        assert "fiscal" not in done.stdout
        told: dict[str, object] = json.loads(done.stdout)
        return told

    queue = QueueSettings(name="requests", bindings=("host.request",))
    with running(vhost, lambda job: job.reply({"status": 1}), queue, kind="host-request"):
        told = ask("host_id=1", "timeout=30")
    assert (told["status"], told["status_query"], told["message_query"]) == (1, 1, "OK")
    section["port"] = free_ports(1)[0]
    config.write_text(json.dumps({"rabbitmq": section}))
    for pairs, text in (
        (["host_id=1"], "Nobody listens"),
        (["host_id={HOST.ID}"], "{HOST.ID}"),
        (["host_id=1", "colour=red"], "unknown key 'colour'"),
        (["host_id=1", "host_port=70000"], "TCP port"),
        ([], "needs host_id or host_uid"),
    ):
        told = ask(*pairs, "timeout=25")
        assert told["status_query"] == 0
        assert text in str(told["message_query"])
