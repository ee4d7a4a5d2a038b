"""Every state of a station, as the host-check service finds it at a real sshd, and tells it."""

import json
import math
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import sshd as lab_sshd
from tests.integration.services.harness import HOST, Post, Site, run, settings_of, status_of
from uploaderd.broker.job import Job
from uploaderd.errors import MessageError, StationBusy
from uploaderd.services.host_check import HostCheckService
from uploaderd.station import ping as icmp
from uploaderd.station import slots
from uploaderd.station.halt import HaltFlag, Patience


def check(site: Site, post: Post | None = None, message_id: str = "first", **changes: Any) -> Post:
    """One check; keys of `behaviour` are the service's, the rest is the message."""
    behaviour = {
        "agent_config": str(site.station.config_path),
        "key_file": str(site.server.key_file),
        "halt_look_again_s": 0,
        "free_space_floor_mb": 0,
        "timeout_s": 20,
        **changes.pop("behaviour", {}),
    }
    service = HostCheckService(settings_of(site.folder, "host-check", site.database, **behaviour))
    try:
        body = site.body(**changes)
        return run(service, body, post, Job(body, message_id=message_id, reply_to="asker"))
    finally:
        service.close()


def answer(post: Post) -> dict[str, Any]:
    return post.replies[-1]


def told(post: Post) -> list[tuple[str, str]]:
    """Routing key and state of each notification."""
    return [(one.routing_key, json.loads(one.body)["payload"]["state"]) for one in post.messages]


@contextmanager
def speaking(words: bytes) -> Iterator[int]:
    """Something at a port that is no sshd, and says these words to everybody."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.sendall(words)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_sound_station_is_online_and_its_answer_says_what_was_found(site: Site) -> None:
    site.station.write("a.bin", b"1")
    site.station.run_agent()
    post = check(site)
    found = answer(post)
    assert (found["state"], found["status"], found["id_host"]) == ("online", 1, HOST)
    assert found["banner"].startswith("SSH-2.0-OpenSSH")
    assert found["agent"] == "present"
    assert found["flag"] == "free"
    assert found["index_bytes"] > 0
    assert 0 <= found["index_age_s"] < 600
    assert 0 < found["free_bytes"] <= found["total_bytes"]
    assert abs(found["clock_ahead_s"]) < 60
    assert found["connect_ms"] > 0
    assert abs(found["since"] - time.time()) < 120
    assert told(post) == [], "a station that is well from the beginning is no news"
    assert site.events() == [("host_check", "online")]
    status = status_of(site)
    assert (status["host_check_error"], status["host_check_message"]) == (0, "N/A")
    assert status["last_host_check"] > time.time() - 600
    assert not site.station.flag.exists()


def test_a_ping_is_answered_or_told_to_be_not_permitted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer(check(site))["ping"] == "not permitted" or " ms" in answer(check(site))["ping"]

    def forbidden(_family: int) -> socket.socket:
        raise icmp.PingNotPermitted("ICMP is not permitted.")

    monkeypatch.setattr(icmp, "_opened", forbidden)
    assert answer(check(site))["ping"] == "not permitted"
    assert answer(check(site))["state"] == "online"


def test_nobody_at_the_port_is_offline_and_coming_back_is_told_once(
    tmp_path: Path, site: Site
) -> None:
    site.server = lab_sshd.start(tmp_path / "own")
    site.server.stop()
    post = check(site)
    first = answer(post)
    assert (first["state"], first["changed"]) == ("offline", 1)
    assert "refuses connections" in first["reason"]
    assert told(post) == [("notify.error.host-check", "offline")]
    check(site, post, "again")
    assert answer(post)["changed"] == 0
    assert answer(post)["since"] == pytest.approx(first["since"], abs=1)
    assert len(told(post)) == 1
    assert "refuses" in status_of(site)["host_check_message"]
    assert status_of(site)["host_check_error"] == 2
    site.server.restart()
    try:
        check(site, post, "back")
    finally:
        site.server.stop()
    assert (answer(post)["state"], answer(post)["changed"]) == ("online", 1)
    assert told(post)[1:] == [("notify.info.host-check", "online")]
    assert site.events() == [("host_check", state) for state in ("offline", "offline", "online")]


def test_a_station_that_may_not_be_logged_into_is_an_auth_error(site: Site) -> None:
    post = check(site, passwd="wrong", behaviour={"key_file": str(site.folder / "none")})
    assert answer(post)["state"] == "auth-error"
    assert "wrong" not in answer(post)["reason"]
    assert told(post) == [("notify.error.host-check", "auth-error")]


def test_another_host_key_is_an_auth_error_that_says_so(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "other"
    lab_sshd.make_key(other, "ed25519")
    kind, blob, *_ = Path(f"{other}.pub").read_text().split()
    pins = tmp_path / "known_hosts"
    pins.write_text(f"[127.0.0.1]:{site.server.port} {kind} {blob}\n")
    post = check(site, behaviour={"known_hosts": str(pins)})
    assert answer(post)["state"] == "auth-error"
    assert "another machine answers" in answer(post)["reason"]


def test_a_station_without_agent_is_told_apart_from_one_that_needs_none(site: Site) -> None:
    post = check(site, behaviour={"agent_config": "/nowhere/indexerD.cfg"})
    assert (answer(post)["state"], answer(post)["agent"]) == ("no-agent", "none")
    assert told(post) == [("notify.error.host-check", "no-agent")]
    stations = site.folder / "stations.d"
    stations.mkdir()
    own = {"host_id": HOST, "filter": {"file_path": str(site.station.data)}}
    (stations / "one.json").write_text(json.dumps(own))
    post = check(site, behaviour={"stations": str(stations), "agent_config": "/nowhere"})
    assert (answer(post)["state"], answer(post)["agent"]) == ("online", "not needed")
    assert answer(post)["free_bytes"] > 0


def test_a_flag_of_somebody_else_is_halted_and_left_as_it_is(site: Site) -> None:
    site.station.flag.write_bytes(b"by hand")
    post = check(site)
    assert (answer(post)["state"], answer(post)["flag"]) == ("halted", "its agent or by hand")
    assert site.station.flag.read_bytes() == b"by hand"
    assert told(post) == [("notify.warning.host-check", "halted")]


def test_a_backup_of_ours_at_work_is_online(site: Site) -> None:
    from lab import plain_sftp

    with (
        plain_sftp.session() as sftp,
        HaltFlag(sftp, site.station.config, patience=Patience(settle_s=0)),
    ):
        found = answer(check(site))
    assert found["state"] == "online"
    assert "uploaderd on" in found["flag"]


def degraded(site: Site, expected: str, **behaviour: Any) -> None:
    post = check(site, behaviour=behaviour)
    assert answer(post)["state"] == "degraded", answer(post)
    assert expected in answer(post)["reason"]
    assert told(post) == [("notify.warning.host-check", "degraded")]


def test_a_disk_that_gets_full_is_degraded(site: Site) -> None:
    room_mb = shutil.disk_usage(site.folder).total // 1_000_000
    degraded(site, "of its disk are free", free_space_floor_mb=room_mb + 1)


def test_an_index_that_is_not_renewed_is_degraded(site: Site) -> None:
    site.station.write_index([])
    old = time.time() - 27 * 3600
    os.utime(site.station.index, (old, old))
    degraded(site, "27 hours old")


def test_a_clock_that_is_not_where_it_should_be_is_degraded(site: Site) -> None:
    stations = site.folder / "stations.d"
    stations.mkdir()
    (stations / "one.json").write_text(json.dumps({"host_id": HOST, "clock_offset_s": 3600}))
    degraded(site, "clock is -3600 s off", stations=str(stations))


def test_a_configuration_of_the_agent_that_makes_no_sense_is_degraded(site: Site) -> None:
    site.station.config_path.write_text("LOCAL_REPO=/\n")
    degraded(site, "does not set DUE_BACKUP")


def test_an_sshd_without_sftp_is_degraded(site: Site, tmp_path: Path) -> None:
    site.server = lab_sshd.start(tmp_path / "own", options=["ForceCommand /bin/true"])
    try:
        degraded(site, "SFTP")
    finally:
        site.server.stop()


@pytest.mark.parametrize("words", [b"220 mail.example ESMTP\r\n", b""])
def test_what_answers_at_the_port_and_is_no_sshd_is_degraded(site: Site, words: bytes) -> None:
    with speaking(words) as port:
        post = check(site, host_port=port)
    assert answer(post)["state"] == "degraded"
    assert "no SSH server" in answer(post)["reason"]


def test_a_repeated_message_tells_of_the_change_again(site: Site) -> None:
    """A crash between the row and the notification: the message comes back."""
    site.station.flag.write_bytes(b"by hand")
    post = check(site)
    check(site, post)
    assert [state for _, state in told(post)] == ["halted", "halted"]
    assert len({one.message_id for one in post.messages}) <= 2


def test_a_station_whose_connections_are_all_taken_is_looked_at_later(site: Site) -> None:
    """The limit of the station's own file, which backups count against, too."""
    stations = site.folder / "stations.d"
    stations.mkdir()
    own = {"host_id": HOST, "connections_per_station": 1}
    (stations / "one.json").write_text(json.dumps(own))
    address = f"127.0.0.1:{site.server.port}"
    with (
        slots.taken(site.repository / ".slots", address, 1, "full"),
        pytest.raises(StationBusy, match=r"allowed \(1\)"),
    ):
        check(site, behaviour={"stations": str(stations)})
    assert not site.events()
    assert answer(check(site, behaviour={"stations": str(stations)}))["state"] == "online"


def test_a_station_without_address_is_a_message_error(site: Site) -> None:
    service = HostCheckService(settings_of(site.folder, "host-check", site.database))
    try:
        with pytest.raises(MessageError, match="address"):
            run(service, {"host_id": 99, "user": "u"})
    finally:
        service.close()


def test_an_unknown_measure_is_told_as_unknown(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from uploaderd.station import health

    monkeypatch.setattr(health, "clock_ahead_s", lambda _link, _timeout_s: math.nan)
    assert answer(check(site))["clock_ahead_s"] == "N/A"
