"""Every command that the documentation marks as runnable is run, on a system of its own.

The system's configuration appears as /etc/uploaderd to these commands only: they run in a mount
namespace. Slow, because broker, database and daemon start for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.ports import free_ports
from tests.end_to_end.truth import Site, site, wait_until
from tests.unit.docs.blocks import PAGES, ROOT, runnable

_INSIDE = """
set -e
layer=$1 etc=$2
mount -n -t tmpfs tmpfs "$layer"
mkdir "$layer/upper" "$layer/work"
mount -n -t overlay overlay -o "lowerdir=/etc,upperdir=$layer/upper,workdir=$layer/work" /etc
mkdir -p /etc/uploaderd
mount -n --bind "$etc" /etc/uploaderd
exec sh -c "$3"
"""
RUN = [page for page in PAGES if runnable(page)]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    probe = ["unshare", "--mount", "mount", "-n", "-t", "tmpfs", "tmpfs", "/mnt"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("mounts are not permitted here, and the commands read /etc/uploaderd")
    with site(tmp_path_factory.mktemp("docs")) as made:
        made.system.daemon_settings["http"] = {"enabled": True, "port": free_ports(1)[0]}
        made.system.configure()
        made.system.start_daemon()
        made.measure(3)
        made.ask()
        wait_until(lambda: made.stages() == {"processed": 3})
        leave_a_dead_letter(made)
        yield made


def leave_a_dead_letter(made: Site) -> None:
    broker = made.system.broker
    bad = {"routing_key": "host.backup", "payload": "{}", "payload_encoding": "string"}
    broker.api("POST", "exchanges/%2F/uploaderd/publish", {**bad, "properties": {}})

    def is_there() -> bool:
        queues = {each["name"]: each for each in broker.api("GET", "queues/%2F")}
        return bool(queues["backup.dead"].get("messages"))

    wait_until(is_there)


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_the_page_work(page: Path, here: Site, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    for command in runnable(page):
        done = in_the_system(here, command, layer, tmp_path)
        said = f"{command}\n{done.stdout}{done.stderr}"
        statuses = (0, 1) if command.endswith("# status 0 or 1") else (0,)
        assert done.returncode in statuses, said
        assert "Traceback" not in said
        assert "usage:" not in done.stderr, said


def in_the_system(
    here: Site, command: str, layer: Path, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Runs one command as an operator's shell would."""
    inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _INSIDE, "sh"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [*inside, str(layer), str(here.system.config.parent), command],
        cwd=folder,
        env={**os.environ, "PATH": path, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_operators_are_told_more_than_a_few_commands() -> None:
    assert sum(len(runnable(page)) for page in RUN) > 30
