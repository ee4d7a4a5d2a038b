"""refresh station: what a station has against what the catalog says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.services import harness
from tests.integration.services.harness import HOST, Site
from uploaderd.ctl.main import main
from uploaderd.errors import ConfigError
from uploaderd.maintenance import station


def test_a_station_is_compared_with_the_catalog(
    site: Site, recording: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [site.station.write("one.bin", recording), site.station.write("two.bin", b"broken")]
    site.station.write_index(paths)
    site.process(site.backup())
    (tmp_path / "config.json").write_text(
        json.dumps({"run_dir": str(tmp_path / "run"), "repository": str(site.repository)})
    )
    services = tmp_path / "services.d"
    services.mkdir()
    harness.settings_of(
        services, "backup", site.database,
        agent_config=str(site.station.config_path), key_file=str(site.server.key_file),
        known_hosts=str(tmp_path / "known_hosts"),
    )  # fmt: skip
    options = ["--json", "-c", str(tmp_path / "config.json"), "-s", str(services)]
    listed = tmp_path / "stations.csv"
    listed.write_text(
        "node_id,node_UID,node_IP,remote_user,password_file\n"
        f"{HOST}, rfeye000007, {site.server.host}:{site.server.port}, {site.server.user},\n"
    )
    capsys.readouterr()
    command = ["refresh", "station", "--file", str(listed), *options]
    assert main(command) == 0, capsys.readouterr().out
    told = json.loads(capsys.readouterr().out)
    assert told["stages"] == {"processed": 1, "trashed": 1}
    assert (told["files"], told["unknown"], told["gone"]) == (2, 0, 0)
    site.station.write("three.bin", recording)
    site.station.write("two.bin", b"longer now")
    assert main(command) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["files"], told["unknown"], told["gone"]) == (3, 2, 1)
    assert {Path(path).name for path in told["examples"]} == {"three.bin", "two.bin"}
    assert main(["refresh", "station", "rfeye000007", "--json", *options[1:]]) in (0, 1)


def test_a_list_of_stations_names_its_faulty_line(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    (tmp_path / "secret").write_text("hush\n")
    path.write_text("7,one,192.0.2.7,root,secret\n# a comment\n8,two,192.0.2.8:2222,root\n")
    one, two = station.listed(path)
    assert one.password is not None
    assert one.password.reveal() == "hush"
    assert (two.station.host_add, two.station.host_port, two.password) == ("192.0.2.8", 2222, None)
    for wrong in ("7,one\n", "7,a,b,c,nothing-there\n"):
        path.write_text(wrong)
        with pytest.raises(ConfigError, match=r"list\.csv, line 1"):
            station.listed(path)
