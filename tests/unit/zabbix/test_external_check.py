from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from amqpfire import zabbix
from lab.ports import free_ports


def said(capsys: pytest.CaptureFixture[str], *pairs: str) -> dict[str, Any]:
    assert zabbix.main(pairs) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    told: dict[str, Any] = json.loads(shown.out)
    assert isinstance(told["message_query"], str)
    return told


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        (["host_id={HOST.ID}"], "{HOST.ID}"),
        (["host_uid=x", "user={$UPLOADERD.USER}"], "{$UPLOADERD.USER}"),
        (["host_uid=x", "timeout=soon"], "timeout"),
        (["host_uid=x", "timeout=31"], "timeout"),
        (["host_uid=x", "colour=red"], "colour"),
        (["host_uid=x", "config=/nowhere.json"], "/nowhere.json"),
        ([], "host_id"),
    ],
)
def test_what_cannot_be_asked_is_told_in_the_object(
    capsys: pytest.CaptureFixture[str], pairs: list[str], text: str
) -> None:
    told = said(capsys, *pairs)
    assert told["status_query"] == 0
    assert text in told["message_query"]


def test_macros_come_as_strings_and_empty_ones_are_left_out() -> None:
    pairs = ["host_id=7", "host_port=2222", "user=", "passwd=a=b c", "config=/x", "timeout=4"]
    body = zabbix.body_of(pairs)
    assert body["host_id"] == 7
    assert body["host_port"] == 2222
    assert body["passwd"] == "a=b c"
    assert "user" not in body
    assert "config" not in body


def test_the_command_prints_one_object_and_hides_the_password(tmp_path: Path) -> None:
    config = tmp_path / "zabbix.json"
    config.write_text(json.dumps({"rabbitmq": {"host": "127.0.0.1", "port": free_ports(1)[0]}}))
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "amqpfire.zabbix",
                f"config={config}",
                "host_uid=O'Brien $(id)",
            ),
            *("host_uid=O'Brien $(id)", "user=fiscal", "passwd=canary", "timeout=25"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={},
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["status_query"] == 0
    assert told["request"]["user"] == told["request"]["passwd"] == "*****"
    assert told["request"]["host_uid"] == "O'Brien $(id)"
    assert "canary" not in done.stdout
    assert "Nobody listens" in told["message_query"]


def test_even_a_fault_of_the_check_is_an_object(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_pairs: object, _wait_s: float) -> dict[str, Any]:
        raise RuntimeError("broken")

    monkeypatch.setattr(zabbix, "answer", broken)
    assert "broken" in said(capsys, "host_uid=x")["message_query"]


def test_a_broker_that_never_speaks_cannot_make_the_check_late(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        config = tmp_path / "zabbix.json"
        config.write_text(json.dumps({"rabbitmq": {"port": deaf.getsockname()[1]}}))
        told = said(capsys, f"config={config}", "host_uid=x", "timeout=1")
        assert told["status_query"] == 0
        assert "within 1 s" in told["message_query"]
