"""backup, on a real station and a real catalog: what comes home, and what stays."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from lab import sshd as lab_sshd
from tests.fixtures.smtp import MailServer
from tests.integration.services import harness
from tests.integration.services.harness import Post, Site
from uploaderd.broker.job import Job
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import MailSettings
from uploaderd.errors import (
    AgentMissing,
    AuthenticationFailed,
    BrokerError,
    HostKeyChanged,
    StationBusy,
    StationHalted,
    StationUnreachable,
    UploaderError,
)
from uploaderd.observe.mail import Mailer
from uploaderd.services import backup
from uploaderd.services.arrivals import Arrivals
from uploaderd.station import slots
from uploaderd.station.connection import Connection
from uploaderd.station.link import Stream


def test_hostile_lines_of_an_index_get_their_rows_and_harm_nothing_else(
    site: Site, recording: bytes, tmp_path: Path
) -> None:
    station, strange = site.station, "dias úteis/medição 1 é.bin"
    sound = station.write(strange, recording)
    broken = station.write("broken.bin", b"this was never a measurement file\n")
    empty = station.write("empty.bin", b"")
    latin = os.fsencode(station.data) + b"/medi\xe7\xe3o.bin"
    Path(os.fsdecode(latin)).write_bytes(recording)
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"not for the repository")
    link = station.data / "link.bin"
    link.symlink_to(secret)
    (station.data / "way").symlink_to(tmp_path)
    gone = station.data / "gone.bin"
    climbing = os.fsencode(station.data) + b"/../../secret.bin"
    through = station.data / "way" / "secret.bin"
    listed = [sound, broken, empty, latin, secret, link, climbing, through, gone]
    station.write_index(listed)
    with station.index.open("ab") as index:
        index.write(b"half a line without\n")

    site.process(site.backup())

    expected: dict[str, tuple[str, str]] = {
        str(sound): ("processed", ""),
        str(broken): ("trashed", "unknown_format"),
        str(empty): ("trashed", "empty_file"),
        latin.decode("utf-8", "backslashreplace"): ("failed", "name"),
        str(secret): ("failed", "outside"),
        str(link): ("failed", "outside"),
        os.fsdecode(climbing): ("failed", "outside"),
        str(through): ("failed", "outside"),
        str(gone): ("failed", "vanished"),
        "half a line without": ("failed", "damaged_line"),
    }
    rows = site.rows()
    assert {path: (row["stage"], row["error_code"]) for path, row in rows.items()} == expected
    assert all(row["error_text"] for path, row in rows.items() if expected[path][1])
    assert rows[str(sound)]["spectra"] == 2
    assert site.kept() == sorted(map(harness.sha256, (sound, broken, empty)))
    assert site.waiting() == []
    left = site.left()
    refused = (latin, os.fsencode(secret), os.fsencode(link), climbing, os.fsencode(through))
    assert all(path + b"\n" in left for path in refused)
    assert b"half a line without" in left
    assert left.count(b"\n") == 6
    done = station.done.read_bytes()
    assert os.fsencode(sound) in done
    assert not station.flag.exists()

    again = site.backup()

    assert again.bodies("file.process") == []
    assert {
        path: (row["stage"], row["error_code"]) for path, row in site.rows().items()
    } == expected
    assert site.left() == left
    assert station.done.read_bytes() == done


def test_a_disk_that_is_not_mounted_costs_no_line_of_the_index(
    site: Site, recording: bytes
) -> None:
    file = site.station.write("a.bin", recording)
    site.station.write_index([file])
    before = site.left()
    elsewhere = site.station.folder / "disk"
    site.station.data.rename(elsewhere)
    site.station.data.mkdir()
    assert site.backup().bodies("file.process") == []
    assert site.rows()[str(file)]["error_code"] == "unmounted"
    assert site.left() == before
    assert not site.station.done.exists()
    site.station.data.rmdir()
    elsewhere.rename(site.station.data)
    assert len(site.backup().bodies("file.process")) == 1
    assert site.left() == b""


def test_small_slices_follow_each_other_until_all_is_home(site: Site, recording: bytes) -> None:
    paths = [site.station.write(f"{n}.bin", recording + bytes(n)) for n in range(7)]
    site.station.write_index(paths)
    post, slices = site.backup(slice_files=3), 1
    while len(post.bodies("host.backup")) == slices:
        assert post.bodies("host.backup")[-1] == site.body()
        site.backup(post, slice_files=3)
        slices += 1
    assert slices == 3
    assert sorted(body["remote_path"] for body in post.bodies("file.process")) == sorted(
        map(str, paths)
    )
    assert site.left() == b""
    assert sorted(site.station.done.read_bytes().split(b"\n")[:-1]) == sorted(
        map(os.fsencode, paths)
    )
    assert [event for event, _ in site.events()].count("backup_done") == 1


def test_a_service_that_stops_leaves_the_rest_in_the_index_and_a_message_for_it(
    site: Site, recording: bytes
) -> None:
    paths = [site.station.write(f"{n}.bin", recording + bytes(n)) for n in range(12)]
    site.station.write_index(paths)
    job, post = Job(site.body(), message_id="first"), Stopping()
    post.stop = job.stop

    # Slow enough that the bytes are not all there before it stops.
    site.backup(post, job, files_in_flight=2, bytes_per_second=4 * len(recording))

    brought = post.bodies("file.process")
    assert 0 < len(brought) < len(paths)
    assert len(post.bodies("host.backup")) == 1
    assert site.left().count(b"\n") == len(paths) - len(brought)
    assert not site.station.flag.exists()
    rest = site.backup(Post())
    names = [body["remote_path"] for body in brought + rest.bodies("file.process")]
    assert sorted(names) == sorted(map(str, paths))


class Stopping(Post):
    """Asks the service to stop when the first bytes have come."""

    stop: threading.Event

    def beat(self) -> None:
        super().beat()
        if self.beats == 8:
            self.stop.set()


def test_a_refused_head_of_the_index_does_not_starve_the_files_behind_it(
    site: Site, recording: bytes
) -> None:
    refused = [b"/outside/%d.bin" % number for number in range(3)]
    sound = site.station.write("sound.bin", recording)
    site.station.write_index([*refused, sound])
    post = site.backup(slice_files=1, slice_seconds=1e-6)
    assert [body["remote_path"] for body in post.bodies("file.process")] == [str(sound)]
    assert site.left().count(b"\n") == len(refused)


def test_what_came_before_a_break_is_not_fetched_again(
    site: Site, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [site.station.write(f"{n}.bin", recording + bytes(n)) for n in range(3)]
    site.station.write_index(paths)
    take, taken = Arrivals.take, []

    def taking(self: Arrivals, outcome: Any) -> None:
        if len(taken) == 2:
            raise StationUnreachable("The line broke.")
        taken.append(outcome)
        take(self, outcome)

    post = Post()
    with monkeypatch.context() as patched:
        patched.setattr(Arrivals, "take", taking)
        with pytest.raises(StationUnreachable):
            site.backup(post)
    assert len(post.bodies("file.process")) == 2
    assert site.events()[-1] == ("backup_waiting", "unreachable")
    recorded = [site.repository / body["path"] for body in post.bodies("file.process")]
    inodes = {path: path.stat().st_ino for path in recorded}

    site.backup(post)

    assert inodes == {path: path.stat().st_ino for path in recorded}
    assert {body["remote_path"] for body in post.bodies("file.process")} == set(map(str, paths))
    assert site.left() == b""
    site.process(post)
    assert site.waiting() == []
    assert len(site.kept()) == len(paths)


def test_rows_and_messages_go_out_while_one_session_fetches_on(
    site: Site, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [site.station.write(f"{n}.bin", recording + bytes(n)) for n in range(7)]
    site.station.write_index(paths)
    monkeypatch.setattr(backup, "BATCH", 3)
    sessions: list[Connection] = []
    told: list[int] = []
    open_sftp, tell_source = Connection.open_sftp, Arrivals.tell_source

    def opening(self: Connection) -> Stream:
        sessions.append(self)
        return open_sftp(self)

    def telling(self: Arrivals) -> None:
        told.append(self.tally.copied)
        tell_source(self)

    monkeypatch.setattr(Connection, "open_sftp", opening)
    monkeypatch.setattr(Arrivals, "tell_source", telling)
    post = site.backup()
    assert len(sessions) == 1
    assert told == [3, 6, 7]
    assert {body["remote_path"] for body in post.bodies("file.process")} == set(map(str, paths))
    assert site.left() == b""


def test_what_the_broker_does_not_confirm_stays_in_the_index(site: Site, recording: bytes) -> None:
    path = site.station.write("one.bin", recording)
    site.station.write_index([path])

    class Deaf(list[Any]):
        def extend(self, _messages: object) -> None:
            raise BrokerError("The broker does not confirm.")

    with pytest.raises(BrokerError):
        site.backup(Post(messages=Deaf()))
    assert site.left() == os.fsencode(path) + b"\n"
    assert not site.station.done.exists()
    assert not site.station.flag.exists()
    post = site.backup()
    assert [body["remote_path"] for body in post.bodies("file.process")] == [str(path)]
    assert site.left() == b""


def test_a_file_rewritten_while_its_first_version_waits_comes_home_in_both_versions(
    site: Site, recording: bytes
) -> None:
    path = site.station.write("same.bin", recording)
    site.station.write_index([path])
    post = site.backup()
    first = harness.sha256(path)
    path.write_bytes(recording + b"more")
    site.station.write_index([path])
    site.backup(post)
    assert len(site.waiting()) == 2
    site.process(post)
    assert site.kept() == sorted([first, harness.sha256(path)])
    assert site.waiting() == []
    assert len(site.catalog.query("SELECT file_id FROM files_now WHERE stage = 'processed'")) == 2


def test_two_files_of_one_name_in_two_folders_both_survive(site: Site, recording: bytes) -> None:
    paths = [site.station.write(f"{n}/same.bin", recording + bytes(n)) for n in range(2)]
    site.station.write_index(paths)
    site.process(site.backup())
    assert site.kept() == sorted(map(harness.sha256, paths))
    assert {row["stage"] for row in site.rows().values()} == {"processed"}


def test_every_way_not_to_get_in_is_an_event_and_a_status_that_says_so(
    site: Site, tmp_path: Path
) -> None:
    cases: list[tuple[dict[str, Any], type[UploaderError], str]] = [
        ({"agent_config": "/nowhere/indexerD.cfg"}, AgentMissing, "backup_failed"),
        ({"user": "nobody-here"}, AuthenticationFailed, "backup_failed"),
        ({"password": "canary-wrong"}, AuthenticationFailed, "backup_failed"),
        ({"halted": True}, StationHalted, "backup_waiting"),
        ({"host_port": 1}, StationUnreachable, "backup_waiting"),
    ]
    for change, error, event in cases:
        behaviour = {key: change[key] for key in ("agent_config",) if key in change}
        body = site.body(
            **{key: change[key] for key in ("user", "host_port") if key in change},
            **({"passwd": change["password"]} if "password" in change else {}),
        )
        if "halted" in change:
            site.station.flag.touch()
        with pytest.raises(error) as raised:
            site.backup(job=Job(body), **behaviour)
        assert site.events()[-1] == (event, error.code)
        status = harness.status_of(site)
        assert status["backup_message"] == str(raised.value)
        assert "canary" not in str(raised.value)
        site.station.flag.unlink(missing_ok=True)
    assert status["host_check_message"] == str(raised.value)


def test_a_foreign_flag_is_waited_for_and_never_touched(site: Site) -> None:
    site.station.flag.write_bytes(b"hands off\n")
    os.utime(site.station.flag)
    post = Post()
    with pytest.raises(StationHalted):
        site.backup(post)
    assert site.station.flag.read_bytes() == b"hands off\n"
    assert post.beats > 0


@pytest.mark.parametrize(
    "limit", [{"connections_per_station": 1}, {"stations_at_once": 1, "connections_per_station": 9}]
)
def test_a_limit_that_is_reached_makes_a_backup_wait_and_no_error_of_the_station(
    site: Site, recording: bytes, limit: dict[str, int]
) -> None:
    site.station.write_index([site.station.write("one.bin", recording)])
    taken_by = "stations" if "stations_at_once" in limit else f"127.0.0.1:{site.server.port}"
    folder = site.repository / ".slots"
    with slots.taken(folder, taken_by, 1, "full"), pytest.raises(StationBusy, match="allowed"):
        site.backup(**limit)
    assert site.events()[-1] == ("backup_waiting", "busy")
    assert harness.status_of(site)["host_check_message"] in ("", "N/A")
    assert harness.status_of(site)["host_check_error"] == 0
    assert len(site.backup(**limit).bodies("file.process")) == 1


def test_a_changed_host_key_is_an_alarm_and_no_password_goes_there(
    tmp_path: Path, catalog: Catalog, recording: bytes
) -> None:
    first = lab_sshd.start(tmp_path / "first")
    site = harness.site(tmp_path, first, catalog)
    try:
        site.station.write_index([site.station.write("one.bin", recording)])
        site.backup()
        first.stop()
        first.host_key_file.unlink()
        first.host_key_file.with_suffix(".pub").unlink()
        lab_sshd.make_key(first.host_key_file, "ed25519")
        first.restart()
        alarms = Post()
        with pytest.raises(HostKeyChanged):
            site.backup(alarms, job=Job(site.body(passwd="canary-changed")))
        (alarm,) = alarms.bodies("notify.critical.backup")
        assert "another machine answers" in alarm["message"]
        with MailServer() as server:
            where = MailSettings("127.0.0.1", "uploaderd@here", ("ops@there",), port=server.port)
            mailer = Mailer(where)
            mailer.tell(alarm)
            mailer.close()
            assert "critical" in server.mails[0]
            assert "another machine answers" in " ".join(server.mails[0].split())
        assert "Accepted" not in first.log
        assert "password" not in first.log
        assert site.events()[-1] == ("backup_failed", "host_key_changed")
        assert "canary" not in str(site.catalog.query("SELECT * FROM host_events"))
    finally:
        first.stop()


def test_a_large_file_shows_signs_of_life_all_the_way(site: Site) -> None:
    path = site.station.write("large.bin", bytes(2_000_000))
    site.station.write_index([path])
    post = site.backup(files_in_flight=1)
    assert post.beats > 2_000_000 // 262_144
