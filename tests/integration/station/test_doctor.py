"""`uploaderctl doctor ssh` against real stations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import sshd as lab_sshd
from uploaderd.ctl.main import main
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
        *("connection", "banner", "key exchange", "host key"),
        *("login methods", "login", "sftp", "commands"),
    ]
    assert "publickey" in steps["login methods"]
    assert "sha256sum" in steps["commands"]
    assert not (tmp_path / "known_hosts").exists()


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
