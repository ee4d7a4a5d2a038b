"""`uploaderctl publish` works on the published folder without a broker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.publishing.rows import fill, spectrum
from uploaderd.catalog import Catalog
from uploaderd.ctl.main import main


def services(catalog: Catalog, folder: Path) -> Path:
    where = folder / "services.d"
    where.mkdir()
    database = catalog.settings
    service = {
        "service": "publish",
        "behaviour": {"folder": str(folder / "out"), "free_space_floor_mb": 1},
        "database": {"port": database.port, "database": database.database},
        "rabbitmq": {"queue": "publish", "bindings": ["catalog.publish"]},
    }
    (where / "publish.json").write_text(json.dumps(service))
    return where


def test_the_commands_publish_list_verify_and_roll_back(
    catalog: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = services(catalog, tmp_path)

    def run(*words: str, status: int = 0) -> dict[str, Any]:
        assert main(["publish", *words, "-s", str(where), "--json"]) == status
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    assert run("list")["versions"] == []
    fill(catalog, months=1, a_month=5)
    first = run("now")
    assert (first["rows"], first["written"]) == (21, 5)
    assert run("now")["version"] == first["version"]
    catalog.insert("spectra", [spectrum(900)])
    second = run("now", "--dataset", "spectra")
    assert (second["rows"], second["written"]) == (22, 1)
    listed = run("list")["versions"]
    assert [(one["version"], one["current"]) for one in listed] == [
        (first["version"], False),
        (second["version"], True),
    ]
    assert run("verify") == {"version": second["version"], "ok": True, "wrong": []}
    assert run("rollback")["current"] == first["version"]
    assert run("verify")["version"] == first["version"]
    assert run("rollback", second["version"])["current"] == second["version"]
    part = tmp_path / "out/current/spectra/year=2026/month=01/part.parquet"
    damaged = bytearray(part.read_bytes())
    damaged[100] ^= 1
    part.write_bytes(damaged)
    (part.parent / "stranger").write_text("")
    wrong = run("verify", status=1)["wrong"]
    assert len(wrong) == 2
    assert "SHA-256" in wrong[0]
    assert "stranger is not in the manifest" in wrong[1]


def test_what_cannot_be_done_is_one_line(
    catalog: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = services(catalog, tmp_path)
    for words, text in (
        (["verify"], "nothing is published yet"),
        (["rollback"], "no version before the current one"),
        (["verify", "x"], "there is no version x"),
        (["now", "--dataset", "y"], "no dataset 'y'"),
    ):
        assert main(["publish", *words, "-s", str(where)]) == 1
        assert text in capsys.readouterr().err
    (where / "publish.json").unlink()
    assert main(["publish", "list", "-s", str(where)]) == 2
