from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.rabbitmq import Broker
from tests.integration.broker.harness import Client, running, wait_for
from uploaderd.broker import inventory
from uploaderd.broker.job import Job
from uploaderd.config.load import load_services
from uploaderd.config.settings import BrokerSettings
from uploaderd.ctl.main import main
from uploaderd.errors import HostKeyChanged

BODY = {"host_id": 7, "host_add": "10.0.0.7", "user": "fiscal", "passwd": "canary"}


@pytest.fixture
def services(vhost: BrokerSettings, tmp_path: Path) -> Path:
    folder = tmp_path / "services.d"
    folder.mkdir()
    host, port = vhost.hosts[0]
    (tmp_path / "password").write_text(vhost.password.reveal())
    section = {
        "hosts": [f"{host}:{port}"],
        "vhost": vhost.virtual_host,
        "user": vhost.user,
        "password_file": "../password",
        "queue": "backup",
        "bindings": ["host.backup"],
        "retry_delays_s": [0.1],
    }
    file = {"service": "backup", "behaviour": {"repository": "/r"}, "rabbitmq": section}
    (folder / "backup.json").write_text(json.dumps(file))
    return folder


def test_dead_letters_are_listed_shown_mended_replayed_and_dropped(
    vhost: BrokerSettings, services: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def handle(job: Job) -> None:
        if job.body["host_add"] == "10.0.0.7":
            raise HostKeyChanged("The host key is another one.")
        seen.append(job.message_id)

    def dead(*words: str) -> tuple[int, str]:
        status = main(["dead", *words, "-s", str(services)])
        return status, capsys.readouterr().out

    client = Client(vhost)
    (settings,) = load_services(services)
    with running(vhost, handle, settings.queue):
        client.publish(BODY, count=3)
        client.publish({**BODY, "host_id": 8}, message_id="other")
        wait_for(lambda: client.depth("backup.dead") == 4)

        status, out = dead("list", "--host", "7", "--code", "host_key_changed", "--json")
        letters = [json.loads(line) for line in out.splitlines()]
        assert status == 0
        assert [letter["message_id"] for letter in letters] == ["m1-0", "m1-1", "m1-2"]
        assert "canary" not in out
        assert "The host key is another one." in dead("show", "--id", "other")[1]
        assert wait_for(lambda: client.depth("backup.dead") == 4)

        assert main(["dead", "replay", "-s", str(services)]) == 2
        assert "needs a filter" in capsys.readouterr().err
        assert dead("edit", "--id", "m1-0", "--set", "host_add=10.0.0.8")[0] == 0
        wait_for(lambda: seen == ["m1-0"])
        assert "1 dead letter dropped" in dead("drop", "--id", "m1-1")[1]
        assert "2 dead letters replayed" in dead("replay", "--all", "--rate", "100")[1]
        wait_for(lambda: client.depth("backup.dead") == 2)
        assert dead("list", "--older-than", "3600")[1] == "0 dead letters found.\n"
        assert "2 dead letters found" in dead("list", "--newer-than", "3600")[1]
        assert "2 dead letters found" in dead("list", "--service", "backup")[1]
        assert "1 dead letter found" in dead("list", "--host", "8")[1]
        assert dead("drop", "--code", "no_such_code")[0] == 1
        assert main(["dead", "list", "--service", "nope", "-s", str(services)]) == 2
        assert "There is no service 'nope': backup." in capsys.readouterr().err


def test_topology_is_shown_compared_applied_and_exported(
    broker: Broker, vhost: BrokerSettings, services: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def topology(action: str) -> tuple[int, str]:
        status = main(["topology", action, "-s", str(services)])
        return status, capsys.readouterr().out

    assert "queue backup.retry.0.1s" in topology("show")[1]
    status, out = topology("diff")
    assert (status, "missing     queue backup " in out) == (1, True)
    assert topology("apply")[0] == 0
    status, out = topology("diff")
    assert (status, "missing" in out) == (0, False)

    definitions = json.loads(topology("export")[1])
    broker.api("POST", "definitions", definitions)
    path = f"queues/{vhost.virtual_host}/backup"
    wait_for(lambda: broker.api("GET", path).get("policy") == "uploaderd-backup")
    with running(vhost, lambda job: None, load_services(services)[0].queue):
        pass


def test_a_queue_with_other_arguments_is_a_difference(
    vhost: BrokerSettings, services: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Client(vhost).channel() as channel:
        channel.queue_declare("backup", durable=True)
    assert main(["topology", "diff", "-s", str(services)]) == 1
    assert "different: 406" in capsys.readouterr().out


def test_the_export_names_each_part_once(services: Path) -> None:
    (service,) = load_services(services)
    pair = (service.broker, service.queue)
    once = inventory.definitions([pair])
    twice = inventory.definitions([pair, pair])
    assert {key: len(value) for key, value in once.items() if key != "policies"} == {
        key: len(value) for key, value in twice.items() if key != "policies"
    }
