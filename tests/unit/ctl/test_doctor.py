from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.ports import free_ports
from uploaderd.ctl.main import main


def installation(folder: Path, repository: Path) -> list[str]:
    (folder / "services.d").mkdir()
    (folder / "run").mkdir()
    config = {"services": "all", "run_dir": "run", "repository": str(repository)}
    (folder / "config.json").write_text(json.dumps(config))
    broker, database = free_ports(2)
    service = {
        "service": "host-request",
        "database": {"host": "127.0.0.1", "port": database},
        "rabbitmq": {
            "hosts": [f"127.0.0.1:{broker}"],
            "password": "canary",
            "queue": "host-request",
            "bindings": ["host.request"],
        },
    }
    path = folder / "services.d" / "host-request.json"
    path.write_text(json.dumps(service))
    path.chmod(0o644)
    return ["doctor", "-c", str(folder / "config.json"), "-s", str(folder / "services.d")]


def test_each_fault_is_told_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = installation(tmp_path, tmp_path / "missing")
    assert main([*command, "--json"]) == 1
    shown = capsys.readouterr().out
    told = json.loads(shown)
    faults = {each["part"].split()[0] for each in told["findings"] if not each["ok"]}
    assert faults == {"secrets", "queue", "database", "repository"}
    assert all(each["hint"] for each in told["findings"] if not each["ok"])
    assert not told["ok"]
    assert "canary" not in shown


def test_a_wrong_configuration_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = installation(tmp_path, tmp_path)
    (tmp_path / "config.json").write_text('{"service": "all"}')
    assert main(command) == 1
    assert capsys.readouterr().out.startswith("FAIL config: ")


def test_settings_that_cannot_be_read_have_a_status_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, services = str(tmp_path / "config.json"), str(tmp_path)
    assert main(["check", "7", "-c", config, "-s", services]) == 2
    assert "config.json: cannot be read" in capsys.readouterr().err
