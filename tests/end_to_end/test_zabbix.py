"""A real Zabbix server watches a real system: templates, external check, triggers, webhook.

Slow: it takes most of a minute to start a Zabbix, and its checks run every few seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import zabbix
from lab.ports import free_ports
from lab.zabbix import Zabbix
from tests.end_to_end.truth import UID, Site, site, wait_until
from tests.fixtures.check import one_file
from tests.unit.zabbix.keys import ANSWER_KEYS

FOLDER = Path(__file__).parents[2] / "zabbix"
INTERVAL = "4s"
PATIENCE_S = 150

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Watched:
    """A system with a station, and the Zabbix that knows both as hosts."""

    zabbix: Zabbix
    site: Site
    station: str
    """Zabbix's id of the station, which is our `host_id`, too."""
    daemon: str

    def values(self, host: str) -> dict[str, str]:
        """The newest value of each item of a host that has one, by the item's key."""
        output = {"hostids": host, "output": ["key_", "lastvalue", "lastclock"]}
        items = self.zabbix.call("item.get", output)
        return {item["key_"]: item["lastvalue"] for item in items if item["lastclock"] != "0"}

    def problems(self, host: str) -> dict[str, dict[str, str]]:
        """The triggers of a host that have fired, with their tags."""
        query = {"hostids": host, "filter": {"value": 1}, "expandDescription": True}
        fired = self.zabbix.call("trigger.get", {**query, "selectTags": "extend"})
        return {
            each["description"]: {tag["tag"]: tag["value"] for tag in each["tags"]}
            for each in fired
        }

    def await_values(self, host: str, wanted: set[str]) -> dict[str, str]:
        """The values, once all that are wanted have come."""
        try:
            wait_until(lambda: wanted <= set(self.values(host)), PATIENCE_S)
        except AssertionError as error:
            missing = sorted(wanted - set(self.values(host)))
            raise AssertionError(f"no values of {missing}; {self.errors(host)}") from error
        return self.values(host)

    def errors(self, host: str) -> dict[str, str]:
        """What Zabbix says about items that it cannot make sense of."""
        items = self.zabbix.call("item.get", {"hostids": host, "output": ["key_", "error"]})
        return {item["key_"]: item["error"] for item in items if item["error"]}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    lacking = zabbix.missing()
    if lacking:
        pytest.skip(f"a private Zabbix cannot be started: {lacking}")
    folder = tmp_path_factory.mktemp("zabbix")
    config = folder / "zabbix.json"
    environment = {"PATH": os.environ["PATH"], "UPLOADERD_ZABBIX_CONFIG": str(config)}
    with contextlib.ExitStack() as ending:
        server = zabbix.start(folder / "server", environment)
        ending.callback(server.stop)
        here = ending.enter_context(site(folder))
        port = free_ports(1)[0]
        here.system.daemon_settings["http"] = {"enabled": True, "port": port}
        here.system.configure()
        config.write_text(json.dumps({"rabbitmq": broker_section(here)}))
        one_file(server.scripts / "uploaderd-zabbix-request")
        here.system.start_daemon()
        here.measure(2)
        yield Watched(server, here, *operator(server, here, port))


def broker_section(here: Site) -> dict[str, Any]:
    broker = here.system.broker
    return {"port": broker.port, "user": "lab", "password": broker.password}


def operator(server: Zabbix, here: Site, port: int) -> tuple[str, str]:
    """What the README tells operators to do; gives the ids of the station and of the daemon."""
    for name in ("template_uploaderd.yaml", "media_uploaderd.yaml"):
        server.load(FOLDER / name)
    found = server.call("template.get", {"search": {"host": "uploaderd "}, "output": ["host"]})
    templates = {each["host"]: each["templateid"] for each in found}
    group = server.call("hostgroup.create", {"name": "Stations"})["groupids"][0]

    def host(name: str, template: str, macros: dict[str, str]) -> str:
        address = {"type": 1, "main": 1, "useip": 1, "ip": "127.0.0.1", "dns": "", "port": "10050"}
        made: dict[str, Any] = {
            "host": name,
            "groups": [{"groupid": group}],
            "interfaces": [address],
            "templates": [{"templateid": templates[template]}],
            "macros": [{"macro": f"{{${key}}}", "value": value} for key, value in macros.items()],
        }
        identity: str = server.call("host.create", made)["hostids"][0]
        return identity

    macros = {
        "UPLOADERD.PORT": str(here.server.port),
        "UPLOADERD.USER": here.server.user,
        "UPLOADERD.INTERVAL": "1h",
        "UPLOADERD.TIMEOUT": "8",
    }
    station = host(UID, "uploaderd station", macros)
    number = {"hostid": station, "macro": "{$UPLOADERD.HOST_ID}", "value": station}
    server.call("usermacro.create", number)
    known = server.call("usermacro.get", {"hostids": station, "output": ["macro"]})
    pace = next(m["hostmacroid"] for m in known if m["macro"] == "{$UPLOADERD.INTERVAL}")
    server.call("usermacro.update", {"hostmacroid": pace, "value": INTERVAL})
    macros = {
        "UPLOADERD.URL": f"http://127.0.0.1:{port}",
        "UPLOADERD.DAEMON.INTERVAL": INTERVAL,
        "UPLOADERD.DISK.INTERVAL": INTERVAL,
    }
    return station, host("uploaderd server", "uploaderd daemon", macros)


def test_every_key_of_the_answer_arrives_at_its_item(watched: Watched) -> None:
    wanted = {f"uploaderd.{key}" for key in ANSWER_KEYS}

    def read() -> bool:
        values = watched.values(watched.station)
        return wanted <= set(values) and values["uploaderd.pending_processing"] == "0"

    wait_until(read, PATIENCE_S)
    values = watched.values(watched.station)
    assert values["uploaderd.host_files"] == "2"
    assert values["uploaderd.id_host"] == watched.station
    assert values["uploaderd.status"] == values["uploaderd.status_query"] == "1"
    assert values["uploaderd.message_query"] == "OK"
    assert json.loads(values["uploaderd.request"])["user"] == "*****"
    assert float(values["uploaderd.last_processing"]) > 1.7e9
    assert watched.errors(watched.station) == {}


def test_a_file_that_cannot_be_read_fires_a_trigger(watched: Watched) -> None:
    wait_until(lambda: "uploaderd.processing_error" in watched.values(watched.station), PATIENCE_S)
    watched.site.station.write("broken.bin", b"this was never a measurement file\n")
    name = f"More files of {UID} could not be read"

    def fired() -> bool:
        # The agent leaves while a backup is on; cron would run it again, too.
        watched.site.station.run_agent().check_returncode()
        return name in watched.problems(watched.station)

    wait_until(fired, PATIENCE_S)
    assert watched.problems(watched.station)[name]["scope"] == "data"


def test_the_daemon_is_watched_and_its_services_and_disks_are_found(watched: Watched) -> None:
    services = ("host-request", "backup", "process", "publish")
    folder = watched.site.system.repository
    of_disk = {f"uploaderd.daemon.disk.{what}[{folder}]" for what in ("free", "size", "days")}
    of_queue = {
        f"uploaderd.daemon.queue.{what}[{service}]"
        for what in ("ready", "retrying", "dead", "age")
        for service in services
    }
    running = {f"uploaderd.daemon.state[{service}/1]" for service in services}
    states = {f"uploaderd.daemon.service.state[{service}]" for service in services}
    wanted = of_disk | of_queue | running | states
    values = watched.await_values(watched.daemon, wanted)
    assert {values[key] for key in running} == {"running"}
    assert {values[key] for key in states} <= {"running", "idle"}
    assert values["uploaderd.daemon.queue.dead[backup]"] == "0"
    assert 0 < float(values[f"uploaderd.daemon.disk.free[{folder}]"]) < 1e15
    assert 0 < float(values[f"uploaderd.daemon.disk.days[{folder}]"]) <= 3650
    assert watched.errors(watched.daemon) == {}


def test_stations_are_found_by_what_the_catalog_knows(watched: Watched) -> None:
    of_station = {
        f"uploaderd.daemon.station.{what}[{watched.station}]"
        for what in ("state", "reason", "code", "since")
    }
    counts = {f"uploaderd.daemon.stations[{state}]" for state in ("fine", "silent", "failed")}
    more = {f"uploaderd.daemon.{what}" for what in ("catalog_error", "errors", "growth")}
    values = watched.await_values(watched.daemon, of_station | counts | more)
    state = values[f"uploaderd.daemon.station.state[{watched.station}]"]
    assert state in ("fine", "running", "asked")
    assert values["uploaderd.daemon.catalog_error"] == ""
    assert values["uploaderd.daemon.stations[silent]"] == "0"
    growth = "uploaderd.daemon.growth"
    wait_until(lambda: float(watched.values(watched.daemon)[growth]) > 0, PATIENCE_S)


def test_a_dead_letter_fires_a_trigger(watched: Watched) -> None:
    bad = {"routing_key": "host.request", "payload": "{}", "payload_encoding": "string"}
    watched.site.system.broker.api(
        "POST", "exchanges/%2F/uploaderd/publish", {**bad, "properties": {}}
    )
    name = "host-request has dead letters"
    wait_until(lambda: name in watched.problems(watched.daemon), PATIENCE_S)
    assert watched.problems(watched.daemon)[name] == {"scope": "data"}


def test_a_silent_daemon_fires_a_trigger_whose_webhook_publishes_a_request(
    watched: Watched,
) -> None:
    call, broker = watched.zabbix.call, watched.site.system.broker
    url = f"http://127.0.0.1:{broker.management_port}"
    for name, value in {"URL": url, "USER": "lab", "PASSWORD": broker.password}.items():
        macro = {"macro": f"{{$UPLOADERD.RABBITMQ.{name}}}", "value": value}
        call("usermacro.createglobal", macro)
    notify_admin(watched)
    watched.site.system.stop_daemon()
    name = f"uploaderd does not answer for {UID}"
    wait_until(lambda: name in watched.problems(watched.station), PATIENCE_S)

    def alert() -> dict[str, str]:
        alerts = call("alert.get", {"output": ["status", "error"], "hostids": watched.station})
        return next((each for each in alerts if each["status"] in "12"), {})

    wait_until(lambda: bool(alert()), PATIENCE_S)
    assert alert()["status"] == "1", alert()
    got = broker.api(
        "POST",
        "queues/%2F/host-request/get",
        {"count": 50, "ackmode": "ack_requeue_true", "encoding": "auto"},
    )
    payloads = [json.loads(each["payload"]) for each in got]
    asked = {"query_tag": "backup", "host_uid": UID, "host_add": "127.0.0.1"}
    assert {**asked, "host_id": int(watched.station)} in payloads


def notify_admin(watched: Watched) -> None:
    """Admin gets the media `uploaderd`, and an action tells Admin of the station's problems."""
    call = watched.zabbix.call
    [media] = call("mediatype.get", {"filter": {"name": "uploaderd"}, "output": ["mediatypeid"]})
    way = {**media, "sendto": "backup", "active": 0, "severity": 63, "period": "1-7,00:00-24:00"}
    call("user.update", {"userid": "1", "medias": [way]})
    of_station = {"conditiontype": 1, "operator": 0, "value": watched.station}
    tell = {"opmessage_usr": [{"userid": "1"}], "opmessage": {"default_msg": 1, **media}}
    call(
        "action.create",
        {
            "name": "ask for a backup",
            "eventsource": 0,
            "esc_period": "1h",
            "filter": {"evaltype": 0, "conditions": [of_station]},
            "operations": [{"operationtype": 0, **tell}],
        },
    )
