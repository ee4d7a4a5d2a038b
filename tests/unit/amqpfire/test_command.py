from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from amqpfire import settings
from amqpfire.__main__ import build_parser, main
from uploaderd.errors import ConfigError


def test_the_list_names_every_service_with_its_parameters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["-l"]) == 0
    out = capsys.readouterr().out
    for word in ("host-request", "backup", "process", "publish", "host_uid", "filter.mode"):
        assert word in out


def test_a_dry_run_shows_typed_values_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = ["host_id=7", "host_add=10.0.0.7", "user=fiscal", "passwd=canary", "filter.mode=ALL"]
    assert main(["-s", "host-request", "--dry-run", "-p", *pairs]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["host_id"] == 7
    assert shown["filter"] == {"mode": "ALL"}
    assert shown["passwd"] == shown["user"] == "*****"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p", "host_id=0"], "host_id is 0"),
        (["-p", "host_id={HOST.ID}"], "does not expand"),
        (["-p", "host_id"], "KEY=VALUE"),
        (["-p", "filter={"], "not JSON"),
        ([], "host_id or host_uid"),
    ],
)
def test_an_invalid_message_has_exit_status_6(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["-s", "host-request", *arguments]) == 6
    assert said in capsys.readouterr().err
    assert main(["-s", "host-request", "--json", *arguments]) == 6
    told = json.loads(capsys.readouterr().out)
    assert told["status_query"] == 0
    assert said in told["message_query"]


def test_a_body_is_read_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"mode":"complete"}')))
    assert main(["-s", "publish", "--dry-run", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == {"mode": "complete"}


def test_many_hosts_come_from_a_csv_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts.csv"
    hosts.write_text("host_id,host_add,host_uid\n1,10.0.0.1,rfeye\n2,10.0.0.2,\n")
    assert main(["-s", "backup", "--dry-run", "--csv", str(hosts)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["host_id"] for line in lines] == [1, 2]
    assert "host_uid" not in lines[1]


@pytest.mark.parametrize(
    ("line", "why"),
    [("x,10.0.0.2", "host_id is 'x'"), ("2,10.0.0.2,more", "more cells than the first line names")],
)
def test_a_wrong_line_of_a_csv_file_is_named_and_nothing_is_sent(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, why: str
) -> None:
    hosts = tmp_path / "hosts.csv"
    hosts.write_text(f"host_id,host_add\n1,10.0.0.1\n{line}\n")
    assert main(["-s", "host-request", "--csv", str(hosts)]) == 6
    said = capsys.readouterr().err
    assert "hosts.csv:3: " in said
    assert why in said


def test_wrong_usage_has_exit_status_2() -> None:
    for arguments in (["-s", "nonsense"], [], ["-s", "backup", "-p", "a=1", "--csv", "x"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2


def test_settings_come_from_a_file_then_the_url_then_the_flags(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("canary\n")
    section = {"hosts": ["a:1", "b:2"], "vhost": "v", "user": "u", "password_file": "key"}
    path = tmp_path / "backup.json"
    path.write_text(json.dumps({"service": "backup", "rabbitmq": section}))
    parse = build_parser().parse_args
    made = settings.settings(parse(["-c", str(path)]))
    assert made.hosts == (("a", 1), ("b", 2))
    assert made.password.reveal() == "canary"
    made = settings.settings(parse(["-c", str(path), "--url", "amqps://x@h/w%2Fz"]))
    assert (made.hosts, made.user, made.virtual_host) == ((("h", 5671),), "x", "w/z")
    assert made.tls is not None
    made = settings.settings(parse(["-c", str(path), "--server", "s", "--username", "me"]))
    assert (made.hosts, made.user) == ((("s", 5672),), "me")


def test_a_configuration_without_the_section_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(ConfigError, match="no section rabbitmq"):
        settings.settings(build_parser().parse_args(["-c", str(path)]))


def test_checking_needs_neither_pika_nor_the_full_validator() -> None:
    code = (
        "import sys; from amqpfire.__main__ import main;"
        "main(['-s','publish','--dry-run']);"
        "sys.exit('pika' in sys.modules or 'jsonschema' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
