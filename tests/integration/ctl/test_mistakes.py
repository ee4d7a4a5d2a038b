"""An operator's mistakes, and what `uploaderctl doctor` and the mail say of each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from lab import small_disk
from lab.certificates import authority
from tests.fixtures.smtp import MailServer
from tests.integration.ctl.conftest import CANARY, UNREACHABLE, Live
from tests.integration.supervisor.running import Daemon, daemon_in, until
from uploaderd.broker import access
from uploaderd.config.settings import BrokerSettings
from uploaderd.ctl import checkup
from uploaderd.ctl.main import main

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def etc(live: Live, tmp_path: Path) -> Path:
    """A copy of the running system's configuration, to be spoilt."""
    shutil.copytree(live.site.system.config.parent, tmp_path / "etc")
    spoil(tmp_path / "etc" / "config.json", lambda file: file.pop("notifier"))
    return tmp_path / "etc"


def spoil(path: Path, change: Change) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def spoil_services(etc: Path, change: Change) -> None:
    for path in (etc / "services.d").glob("*.json"):
        spoil(path, change)


def doctor(
    etc: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> dict[str, list[dict[str, Any]]]:
    """The faults that the doctor finds, by the first word of their part."""
    capsys.readouterr()
    files = ("-c", str(etc / "config.json"), "-s", str(etc / "services.d"))
    main(["doctor", *files, *more, "--json"])
    faults: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads(capsys.readouterr().out)["findings"]:
        if not each["ok"]:
            assert each["hint"]
            faults.setdefault(each["part"].split()[0], []).append(each)
    return faults


def test_only_the_dead_letter_is_found_in_a_sound_system(
    etc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = doctor(etc, capsys)
    assert list(faults) == ["queue"]
    assert [each["hint"] for each in faults["queue"]] == ["uploaderctl dead list --service backup"]


def test_a_wrong_virtual_host(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil_services(etc, lambda file: file["rabbitmq"].update(vhost="/nowhere"))
    faults = doctor(etc, capsys)["queue"]
    assert len(faults) == 4
    assert all("has no virtual host '/nowhere'" in each["found"] for each in faults)
    assert all("rabbitmq.vhost" in each["hint"] for each in faults)


@pytest.mark.parametrize(
    ("rights", "verb"),
    [
        ({"configure": ".*", "write": "^$", "read": ".*"}, "publish"),
        ({"configure": ".*", "write": ".*", "read": "^$"}, "read"),
        ({"configure": "^$", "write": ".*", "read": ".*"}, "declare"),
    ],
)
def test_a_missing_permission(
    rights: dict[str, str],
    verb: str,
    live: Live,
    etc: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broker = live.site.system.broker
    user = f"clerk-{verb}"
    broker.api("PUT", f"users/{user}", {"password": CANARY, "tags": ""})
    broker.api("PUT", f"permissions/%2F/{user}", rights)
    spoil_services(etc, lambda file: file["rabbitmq"].update(user=user, password=CANARY))
    faults = doctor(etc, capsys)["queue"]
    assert {each["found"].split(":")[0] for each in faults} == {f"'{user}' may not {verb}"}
    assert CANARY not in str(faults)


def test_a_full_disk(etc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = tmp_path / "small"
    with small_disk.mounted(small, "64k") as permitted:
        if not permitted:
            pytest.skip("mounting a small tmpfs is not permitted")
        spoil(etc / "config.json", lambda file: file.update(repository=str(small)))
        (fault,) = doctor(etc, capsys)["repository"]
    assert "No space left on device" in fault["found"]
    assert fault["hint"].startswith("Make room")


def test_an_expired_certificate_of_the_mail_server(
    etc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ca = authority(tmp_path)
    with MailServer("starttls", ca.issue("mail", days=-1)) as server:
        mail = {"host": "127.0.0.1", "port": server.port, "security": "starttls"}
        mail |= {"ca_file": str(ca.certificate), "sender": "a@b", "recipients": ["c@d"]}
        spoil(etc / "config.json", lambda file: file.update(notifier={"mail": mail}))
        (fault,) = doctor(etc, capsys)["mail"]
    assert fault["found"] == "its certificate is refused: certificate has expired"


def test_an_expired_certificate_of_the_broker(
    live: Live, etc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = live.site.system.broker
    client = broker.authority.issue("late", days=-1)
    tls = {"ca_file": str(broker.authority.certificate)}
    tls |= {"certificate": str(client.certificate), "key": str(client.key)}
    hosts = {"hosts": [f"localhost:{broker.tls_port}"], "tls": tls}
    spoil_services(etc, lambda file: file["rabbitmq"].update(hosts))
    faults = doctor(etc, capsys)["queue"]
    assert all("has expired on 2" in each["found"] + each["hint"] for each in faults)


def test_a_clock_hours_off(
    etc: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = checkup.time.time
    # Half an hour above whole hours: the newest event is seconds old, and hours are rounded down.
    for offset, words in ((9000, ["9000.", "behind"]), (-9000, ["ahead", "2 h in the future"])):
        monkeypatch.setattr(checkup.time, "time", lambda o=offset: clock() + o)
        found = " ".join(each["found"] for each in doctor(etc, capsys)["clock"])
        assert all(word in found for word in words), found
        monkeypatch.undo()


def test_stations_that_moved_or_refuse_are_found_on_request(
    etc: Path, live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = json.loads((etc / "services.d" / "backup.json").read_text())
    kept = ("user", "key_file", "agent_config")
    behaviour = {key: value for key, value in backup["behaviour"].items() if key in kept}
    queue = {**backup["rabbitmq"], "queue": "host-check", "bindings": ["host.check"]}
    check = {**backup, "service": "host-check", "behaviour": behaviour, "rabbitmq": queue}
    (etc / "services.d" / "host-check.json").write_text(json.dumps(check))
    found = {each["part"]: each for each in doctor(etc, capsys, "--stations")["station"]}
    moved = found[f"station {UNREACHABLE}"]
    assert "is offline" in moved["found"]
    assert "uploaderctl doctor ssh --host 127.0.0.1 --port 9" in moved["hint"]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with daemon_in(tmp_path) as daemon:
        yield daemon


def test_a_wrong_virtual_host_is_mailed_and_its_mending_is(
    daemon: Daemon, vhost: BrokerSettings
) -> None:
    host, port = vhost.hosts[0]
    section = {"host": host, "port": port, "user": vhost.user, "bindings": ["catalog.publish"]}
    section |= {"password": vhost.password.reveal(), "queue": "one", "vhost": "/nowhere"}
    with MailServer() as server:
        mail = {"host": "127.0.0.1", "port": server.port, "sender": "a@b", "recipients": ["c@d"]}
        daemon.configure(
            status={"look_interval_s": 0.2, "trouble_s": 0.5},
            notifier={"mail": {**mail, "digest_s": 0.1}},
        )
        daemon.service("one", rabbitmq=section)
        daemon.start()
        until(lambda: server.mails, "the mail")
        assert "one does not work well" in server.mails[0]
        assert "has no virtual host '/nowhere'" in server.mails[0].replace("=\n", "")
        parameters = access.parameters(vhost, host, port)
        with pika.BlockingConnection(parameters) as connection, connection.channel() as channel:
            channel.exchange_declare(vhost.exchange, "topic", durable=True)
            channel.queue_declare("listener", durable=True)
            channel.queue_bind("listener", vhost.exchange, "notify.#")
            for name in ("one", "one.dead", *(f"one.retry.{step}s" for step in (5, 30, 120, 600))):
                channel.queue_declare(name, durable=True)
            daemon.service("one", rabbitmq={**section, "vhost": vhost.virtual_host})
            daemon.signal(1)
            until(lambda: len(server.mails) > 1, "the clearing")
            assert "cleared: one does not work well" in server.mails[1]
            found = until(lambda: taken(channel), "the event")
        assert set(found) == {"subject", "severity", "type", "message", "timestamp", "payload"}
        assert vhost.password.reveal() not in str(server.mails)
        assert daemon.stop() == 0


def taken(channel: Any) -> dict[str, Any] | None:
    _, _, body = channel.basic_get("listener", auto_ack=True)
    return None if body is None else json.loads(body)
