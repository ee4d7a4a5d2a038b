"""The media type's script in Zabbix's own JavaScript engine, against RabbitMQ's HTTP API."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from lab.ports import free_ports
from lab.rabbitmq import Broker
from tests.integration.broker.harness import Client, running, wait_for
from uploaderd.config.settings import BrokerSettings, QueueSettings

EXPORT = Path(__file__).parents[3] / "zabbix" / "media_uploaderd.yaml"
REQUESTS = QueueSettings(name="requests", bindings=("host.request",))


@pytest.fixture
def media(tmp_path: Path) -> Webhook:
    if shutil.which("zabbix_js") is None:
        pytest.skip("zabbix_js is not installed: it comes with zabbix-server-pgsql")
    media = yaml.safe_load(EXPORT.read_text())["zabbix_export"]["media_types"][0]
    (tmp_path / "webhook.js").write_text(media["script"])
    return Webhook(tmp_path, {each["name"]: each["value"] for each in media["parameters"]})


class Webhook:
    """The script, and the parameters as Zabbix would expand them."""

    def __init__(self, folder: Path, parameters: dict[str, str]) -> None:
        self._folder = folder
        self._parameters = parameters

    def __call__(self, **given: str) -> str:
        """What the script returns or throws."""
        file = self._folder / "parameters.json"
        file.write_text(json.dumps({**self._parameters, **given}))
        command = ["zabbix_js", "-s", str(self._folder / "webhook.js"), "-i", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout.strip() + done.stderr.strip()


def test_the_script_publishes_what_the_service_takes_and_tells_each_failure(
    broker: Broker, vhost: BrokerSettings, media: Webhook
) -> None:
    where = {
        "url": f"http://127.0.0.1:{broker.management_port}",
        "vhost": vhost.virtual_host,
        "user": vhost.user,
        "password": vhost.password.reveal(),
    }
    asked = {"host_id": "10561", "host_uid": "rfeye", "host_add": "10.0.0.7", "event_id": "5"}
    parameters = {**where, **asked, "query_tag": "backup"}
    assert "404" in media(**parameters)
    bodies: list[object] = []
    with running(vhost, lambda job: bodies.append(job.body), REQUESTS, kind="host-request"):
        assert media(**parameters) == "OK"
        wait_for(lambda: bodies)
    assert bodies == [
        {"host_id": 10561, "host_uid": "rfeye", "host_add": "10.0.0.7", "query_tag": "backup"}
    ]
    with Client(vhost).channel() as channel:
        channel.queue_unbind("requests", "uploaderd", "host.request")
    assert "no queue takes host.request" in media(**parameters)
    assert "RabbitMQ says 401" in media(**{**parameters, "password": "wrong"})
    nowhere = f"http://127.0.0.1:{free_ports(1)[0]}"
    assert "was not published" in media(**{**parameters, "url": nowhere})
