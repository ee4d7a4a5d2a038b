"""A real Zabbix server watches a real system: templates, external check, triggers, webhook.

Slow: it takes most of a minute to start a Zabbix, and its checks run every few seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import zabbix
from lab.ports import free_ports
from lab.system import System
from lab.zabbix import Zabbix
from tests.end_to_end.truth import UID, Site, signal_service, site, wait_until
from tests.fixtures.check import one_file
from tests.unit.zabbix.keys import ANSWER_KEYS, OWN_KEYS

FOLDER = Path(__file__).parents[2] / "zabbix"
INTERVAL = "4s"
TARGET = "central"
PATIENCE_S = 150

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass
class Watched:
    """A system with a station, and the Zabbix that knows both as hosts."""

    zabbix: Zabbix
    site: Site
    station: str = ""
    """Zabbix's id of the station, which is our `host_id`, too."""
    daemon: str = ""

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

    def add_host(self, name: str, template: str, **macros: str) -> str:
        """A host with a template; gives its id."""
        output = {"filter": {"host": template}, "output": ["templateid"]}
        groups = self.zabbix.call("hostgroup.get", {"filter": {"name": "Discovered hosts"}})
        address = {"type": 1, "main": 1, "useip": 1, "ip": "127.0.0.1", "dns": "", "port": "10050"}
        made: dict[str, Any] = {
            "host": name,
            "groups": [{"groupid": groups[0]["groupid"]}],
            "interfaces": [address],
            "templates": self.zabbix.call("template.get", output),
        }
        identity: str = self.zabbix.call("host.create", made)["hostids"][0]
        self.set_macros(identity, **macros)
        return identity

    def set_macros(self, host: str, **values: str) -> None:
        """Gives macros of a host these values, `A_B` being `{$UPLOADERD.A.B}`."""
        for key, value in values.items():
            name = f"{{$UPLOADERD.{key.replace('_', '.')}}}".replace("HOST.ID", "HOST_ID")
            query = {"hostids": host, "filter": {"macro": name}}
            for old in self.zabbix.call("usermacro.get", query):
                self.zabbix.call("usermacro.delete", [old["hostmacroid"]])
            made = {"hostid": host, "macro": name, "value": value}
            self.zabbix.call("usermacro.create", made)

    def await_problem(self, host: str, name: str) -> dict[str, str]:
        """The tags of a trigger of a host, once it has fired."""
        try:
            wait_until(lambda: name in self.problems(host), PATIENCE_S)
        except AssertionError as error:
            said = f"{sorted(self.problems(host))}; {self.values(host)}; {self.errors(host)}"
            raise AssertionError(f"not fired: {name}; {said}") from error
        return self.problems(host)[name]

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
        here.system.daemon_settings["http"] = {"enabled": True, "port": free_ports(1)[0]}
        here.system.configure()
        add_target(here)
        config.write_text(json.dumps({"rabbitmq": broker_section(here)}))
        one_file(server.scripts / "uploaderd-zabbix-request")
        here.system.start_daemon()
        here.measure(2)
        yield operator(server, here)


def add_target(here: Site) -> None:
    """A server that the catalog is sent to, and that is not there."""
    service = json.loads((here.system.services / "publish.json").read_text())
    place = {"kind": "rest", "sender": "north", "url": f"http://127.0.0.1:{free_ports(1)[0]}"}
    service |= {"service": "send"}
    service["behaviour"] = {**place, "outbox": str(here.system.folder / "outbox")}
    service["rabbitmq"] |= {"queue": TARGET, "bindings": ["catalog.send"]}
    (here.system.services / f"{TARGET}.json").write_text(json.dumps(service))


def broker_section(here: Site) -> dict[str, Any]:
    broker = here.system.broker
    return {"port": broker.port, "user": "lab", "password": broker.password}


def operator(server: Zabbix, here: Site) -> Watched:
    """What the README tells operators to do."""
    for name in ("template_uploaderd.yaml", "media_uploaderd.yaml"):
        server.load(FOLDER / name)
    watched = Watched(server, here)
    way = {"PORT": str(here.server.port), "USER": here.server.user, "TIMEOUT": "8"}
    watched.station = watched.add_host(UID, "uploaderd station", **way, INTERVAL="1h")
    watched.set_macros(watched.station, HOST_ID=watched.station)
    watched.set_macros(watched.station, INTERVAL=INTERVAL)
    watched.daemon = add_daemon(watched, "uploaderd server")
    return watched


def add_daemon(watched: Watched, name: str, **more: str) -> str:
    """A host for the machine that the daemon runs on."""
    port = watched.site.system.daemon_settings["http"]["port"]
    macros = {"URL": f"http://127.0.0.1:{port}", "DAEMON_INTERVAL": INTERVAL}
    return watched.add_host(name, "uploaderd daemon", **macros, DISK_INTERVAL=INTERVAL, **more)


def test_every_key_of_the_answer_arrives_at_its_item(watched: Watched) -> None:
    wanted = {f"uploaderd.{key}" for key in ANSWER_KEYS | OWN_KEYS}

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
    tags = watched.await_problem(watched.daemon, "host-request has dead letters")
    assert tags == {"scope": "data"}


def test_a_target_that_fails_its_check_fires_a_trigger(watched: Watched) -> None:
    state = f"uploaderd.daemon.target.state[{TARGET}]"
    watched.await_values(watched.daemon, {state})
    check = {"routing_key": "catalog.send", "payload_encoding": "string"}
    payload = json.dumps({"mode": "check", "target": TARGET})
    watched.site.system.broker.api(
        "POST", "exchanges/%2F/uploaderd/publish", {**check, "payload": payload, "properties": {}}
    )
    tags = watched.await_problem(watched.daemon, f"The target {TARGET} cannot be sent to")
    assert tags["scope"] == "availability"
    assert watched.values(watched.daemon)[state] == "bad"


def test_a_stale_halt_flag_fires_a_trigger(watched: Watched) -> None:
    watched.set_macros(watched.station, FLAG="5s")
    watched.set_macros(watched.daemon, FLAG="5s")
    watched.site.station.flag.write_text("the technician\n")
    try:
        name = f"The halt flag of {UID} is stale: it has been there for 5s"
        assert watched.await_problem(watched.station, name)["scope"] == "availability"
        tags = watched.await_problem(watched.daemon, f"The halt flag of {UID} is stale")
        assert tags == {"scope": "availability", "station": UID}
    finally:
        watched.site.station.flag.unlink()


def test_failing_backups_fire_triggers_that_tell_of_one_and_of_many(watched: Watched) -> None:
    watched.set_macros(watched.station, FAILING="5s", ERRORS="1")
    watched.set_macros(watched.daemon, ERRORS="0")
    keys = watched.site.server.key_file.with_suffix(".pub")
    known = keys.read_text()
    keys.write_text("")
    try:
        watched.await_problem(watched.station, f"The last backup of {UID} failed")
        watched.await_problem(watched.station, f"Backups of {UID} have failed for 5s")
        watched.await_problem(watched.station, f"Backup errors of {UID} are growing")
        watched.await_problem(watched.daemon, f"The last backup of {UID} has failed")
        watched.await_problem(watched.daemon, "Errors of the stations are growing")
    finally:
        keys.write_text(known)


def test_a_silent_station_fires_triggers(watched: Watched) -> None:
    watched.site.server.stop()
    system = watched.site.system
    system.daemon_settings["status"] = {"station_silent_h": 0.001}
    system.configure()
    assert system.daemon is not None
    system.daemon.send_signal(signal.SIGHUP)
    watched.set_macros(watched.station, SILENT="5s", BACKUP_AGE="5s")
    try:
        watched.await_problem(watched.station, f"{UID} has been silent for 5s")
        watched.await_problem(watched.station, f"No backup of {UID} for 5s")
        watched.await_problem(watched.daemon, f"{UID} is silent")
    finally:
        watched.site.server.restart()


def test_a_queue_that_does_not_move_and_a_disk_that_fills_fire_triggers(watched: Watched) -> None:
    system = watched.site.system
    system.database.process.send_signal(signal.SIGSTOP)
    try:
        # Frozen with a message in hand, so that nobody tries again and none is younger.
        system.fire("publish", dataset="all")
        wait_until(lambda: waited_s(system, "publish") is not None)
        assert signal_service(system, "publish", signal.SIGSTOP)
        # Triggers over five minutes see no younger value on a host that is new.
        tight = {"QUEUE_AGE": "1s", "DISK_DAYS": "3651", "DISK_FREE": "1.1"}
        late = add_daemon(watched, "uploaderd server again", **tight)
        watched.await_problem(late, "Messages of publish have waited for more than 1s")
        folder = system.folder / "run"
        watched.await_problem(late, f"The disk of {folder} is full in less than 3651 days")
        watched.await_problem(late, f"The disk of {folder} is nearly full")
        watched.await_problem(late, "The catalog of uploaderd cannot be asked")
    finally:
        system.database.process.send_signal(signal.SIGCONT)
        signal_service(system, "publish", signal.SIGCONT)


def waited_s(system: System, service: str) -> float | None:
    """The age of a service's oldest message, as the daemon knows it."""
    told = json.loads((system.folder / "run" / "status.json").read_text())
    found: dict[str, Any] = next(each for each in told["services"] if each["service"] == service)
    age: float | None = found["activity"]["oldest_s"]
    return age


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
    watched.await_problem(watched.station, f"uploaderd does not answer for {UID}")

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
