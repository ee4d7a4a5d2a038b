"""`uploaderctl doctor ssh` against real stations."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import sshd as lab_sshd
from uploaderd.ctl.main import main
from uploaderd.station import health
from uploaderd.station.access import Access
from uploaderd.station.connection import connect


def doctor(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, object]]:
    status = main(["doctor", "ssh", "--json", *map(str, arguments)])
    return status, json.loads(capsys.readouterr().out)


def at(server: lab_sshd.Sshd, tmp_path: Path) -> list[object]:
    return [
        *("--host", server.host, "--port", server.port, "--user", server.user),
        *("--known-hosts", tmp_path / "known_hosts"),
    ]


def test_a_station_in_good_order_passes_every_step(
    sshd: lab_sshd.Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, report = doctor(capsys, *at(sshd, tmp_path), "--key-file", sshd.key_file)
    assert (status, report["ok"]) == (0, True)
    steps = {step["step"]: step["found"] for step in report["steps"]}  # type: ignore[attr-defined] # JSON
    assert list(steps) == [
        *("connection", "banner", "offer", "key exchange", "host key"),
        *("login methods", "login", "sftp", "commands", "clock"),
    ]
    assert "publickey" in steps["login methods"]
    assert "sha256sum" in steps["commands"]
    assert not (tmp_path / "known_hosts").exists()


def test_a_clock_that_is_two_hours_off_is_told(
    sshd: lab_sshd.Sshd,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = SimpleNamespace(time=lambda: time.time() - 7200)
    monkeypatch.setattr(health, "time", late)
    status, report = doctor(capsys, *at(sshd, tmp_path), "--key-file", sshd.key_file)
    last = report["steps"][-1]  # type: ignore[index] # JSON
    assert (status, last["step"], last["ok"]) == (1, "clock", False)
    assert "s ahead of ours" in last["found"]
    assert "time server" in last["hint"]


def test_the_legacy_way_passes_too(
    sshd: lab_sshd.Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*at(sshd, tmp_path), "--key-file", sshd.key_file, "--legacy"]
    status, report = doctor(capsys, *arguments)
    assert (status, report["ok"]) == (0, True)


def test_a_wrong_password_fails_at_the_login_and_is_not_shown(
    sshd: lab_sshd.Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "password").write_text("never-right\n")
    status, report = doctor(capsys, *at(sshd, tmp_path), "--password-file", tmp_path / "password")
    last = report["steps"][-1]  # type: ignore[index] # JSON
    assert (status, last["step"], last["ok"]) == (1, "login", False)
    assert last["hint"]
    assert "never-right" not in json.dumps(report)


def test_nobody_there_fails_at_the_connection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, report = doctor(capsys, "--host", "127.0.0.1", "--port", 1)
    last = report["steps"][-1]  # type: ignore[index] # JSON
    assert (status, last["step"], last["ok"]) == (1, "connection", False)


def test_another_host_key_fails_before_the_login(
    sshd: lab_sshd.Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = lab_sshd.start(tmp_path / "other")
    try:
        known = tmp_path / "known_hosts"
        connect(
            Access(other.host, other.port, other.user, key_file=other.key_file, known_hosts=known)
        ).close()
    finally:
        other.stop()
    known.write_text(known.read_text().replace(str(other.port), str(sshd.port)))
    assert main(["doctor", "ssh", *map(str, at(sshd, tmp_path))]) == 1
    said = capsys.readouterr().out
    assert "FAIL host key" in said
    assert "→" in said


def test_an_sshd_without_sftp_fails_at_the_sftp_with_the_line_that_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = lab_sshd.start(tmp_path / "own", options=["Subsystem sftp /nowhere/sftp-server"])
    try:
        arguments = [*at(server, tmp_path), "--key-file", server.key_file]
        status, report = doctor(capsys, *arguments)
    finally:
        server.stop()
    last = report["steps"][-1]  # type: ignore[index] # JSON
    assert (status, last["step"]) == (1, "sftp")
    assert "Subsystem sftp" in last["hint"]


def test_a_missing_configuration_of_the_agent_is_told_if_it_was_asked_for(
    sshd: lab_sshd.Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*at(sshd, tmp_path), "--key-file", sshd.key_file]
    status, report = doctor(capsys, *arguments, "--agent-config", "/nowhere/indexerD.cfg")
    last = report["steps"][-1]  # type: ignore[index] # JSON
    assert (status, last["step"]) == (1, "agent")
    assert "/nowhere/indexerD.cfg" in last["found"]
    assert "agentless" in last["hint"]


def test_what_is_no_sshd_fails_at_the_banner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        # Nobody accepts: the connection is made by the kernel, and silent.
        status, report = doctor(capsys, "127.0.0.1", "--port", port, "--timeout", 1)
    last = report["steps"][-1]  # type: ignore[index] # JSON
    assert (status, last["step"]) == (1, "banner")
    assert "timed out" in last["found"]


def test_a_station_is_named_as_its_own_file_names_it(
    sshd: lab_sshd.Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    etc = tmp_path / "etc"
    for folder in ("services.d", "stations.d"):
        (etc / folder).mkdir(parents=True)
    (etc / "config.json").write_text(json.dumps({"repository": str(tmp_path)}))
    behaviour = {"stations": "../stations.d", "key_file": str(sshd.key_file)}
    service = {"service": "host-check", "behaviour": behaviour, "database": {"port": 1}}
    service["rabbitmq"] = {"queue": "q", "bindings": ["host.check"]}
    (etc / "services.d" / "host-check.json").write_text(json.dumps(service))
    own = {"host_uid": "rfeye1", "address": sshd.host, "port": sshd.port, "user": sshd.user}
    own["filter"] = {"file_path": "/data"}
    (etc / "stations.d" / "rfeye1.json").write_text(json.dumps(own))
    where = ["-c", str(etc / "config.json"), "-s", str(etc / "services.d")]
    status, report = doctor(capsys, "rfeye1", *where)
    assert (status, report["ok"]) == (0, True)
    assert main(["check", "rfeye1", "--json", *where]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["station"], told["agent"]) == ("rfeye1", "not needed")
