"""What is checked before anything is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from uploaderd.errors import ConfigError
from uploaderd.supervisor.plan import read_plan


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("bakcup", "no service is registered as bakcup; did you mean backup?"),
        ("zzz", "no service is registered as zzz; known here: backup,"),
    ],
)
def test_a_service_that_nobody_registered_is_refused_with_file_line_and_key(
    tmp_path: Path, name: str, sentence: str
) -> None:
    config, folder = tmp_path / "config.json", tmp_path / "services.d"
    folder.mkdir()
    config.write_text("{}")
    file = folder / "one.json"
    rabbitmq = {"queue": "one", "bindings": ["host.one"]}
    file.write_text("{\n" + json.dumps({"service": name, "rabbitmq": rabbitmq})[1:])
    with pytest.raises(ConfigError) as caught:
        read_plan(config, folder)
    assert str(caught.value).startswith(f"{file}:2: service: {sentence}")


def test_a_service_may_be_named_by_module_and_class(tmp_path: Path) -> None:
    config, folder = tmp_path / "config.json", tmp_path / "services.d"
    folder.mkdir()
    config.write_text("{}")
    (folder / "one.json").write_text('{"service": "somewhere:Service"}')
    assert set(read_plan(config, folder).jobs) == {"one"}
