"""amqpfire alone: its wheel in an environment that has nothing else.

Slow, and it needs a package index for pika and jsonschema.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.packaging.test_rpm import copy_of_the_tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_amqpfire_installed_alone_needs_nothing_else(tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path / "tree")
    where = {**os.environ, "PYTHON": sys.executable, "WHEELS": str(tmp_path / "wheels")}
    command = [tree / "scripts" / "package", "amqpfire"]
    subprocess.run(command, env=where, check=True, capture_output=True)
    [wheel] = (tree / "dist").glob("amqpfire-*.whl")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    programs = tmp_path / "venv" / "bin"
    install = [programs / "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
    subprocess.run(install, check=True, capture_output=True)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [programs / arguments[0], *arguments[1:]],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin"},
        )

    assert "host-request" in run("amqpfire", "-l").stdout
    assert run("amqpfire", "-s", "publish", "--server", "127.0.0.1", "--port", "1").returncode == 5
    refused = run("amqpfire", "-s", "host-request", "-p", "host_id=0")
    assert (refused.returncode, "host_id is 0" in refused.stderr) == (6, True)
    told = json.loads(run("uploaderd-zabbix-request", "host_uid=x", "config=/nowhere").stdout)
    assert told["status_query"] == 0
    assert run("python", "-c", "import paramiko").returncode == 1
