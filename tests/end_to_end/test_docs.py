"""Every command that the documentation marks as runnable is run, on a system of its own.

The system's configuration appears as /etc/uploaderd to these commands only, and its repository as
/var/lib/uploaderd: they run in a mount namespace, and what they write elsewhere is forgotten with
it. Slow, because broker, database and daemon start for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.ports import free_ports
from tests.end_to_end.truth import Site, site, wait_until
from tests.fixtures.check import one_file
from tests.unit.docs.blocks import PAGES, ROOT, runnable

_INSIDE = """
set -e
layer=$1 etc=$2 repository=$3 check=$4
mount -n -t tmpfs tmpfs "$layer"
for name in etc var mnt usr/lib usr/local; do
    mkdir -p "$layer/$name/upper" "$layer/$name/work"
    mount -n -t overlay overlay -o \
        "lowerdir=/$name,upperdir=$layer/$name/upper,workdir=$layer/$name/work" "/$name"
done
mkdir -p /etc/uploaderd /var/lib/uploaderd /usr/lib/zabbix/externalscripts
cp "$check" /usr/local/bin
mount -n --bind "$etc" /etc/uploaderd
mount -n --bind "$repository" /var/lib/uploaderd
echo ready
read -r _
"""
LETTER = "8c1f2a"
"""The id of the dead letter that the pages name."""
RUN = [page for page in PAGES if runnable(page)]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    probe = ["unshare", "--mount", "mount", "-n", "-t", "tmpfs", "tmpfs", "/mnt"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("mounts are not permitted here, and the commands read /etc/uploaderd")
    with site(tmp_path_factory.mktemp("docs")) as made:
        system = made.system
        system.daemon_settings["http"] = {"enabled": True, "port": free_ports(1)[0]}
        system.configure()
        (system.config.parent / "secrets").mkdir()
        section = {"port": system.broker.port, "user": "lab", "password": system.broker.password}
        (system.config.parent / "zabbix.json").write_text(json.dumps({"rabbitmq": section}))
        system.start_daemon()
        made.measure(3)
        made.ask()
        wait_until(lambda: made.stages() == {"processed": 3})
        yield made


def leave_a_dead_letter(made: Site) -> None:
    """Makes sure that there is one; after a replay it comes back by itself."""
    broker = made.system.broker

    def is_there() -> bool:
        queues = {each["name"]: each for each in broker.api("GET", "queues/%2F")}
        return bool(queues["backup.dead"].get("messages_ready"))

    with contextlib.suppress(AssertionError):
        wait_until(is_there, 5)
        return
    body = json.dumps({"host_id": 8, "host_uid": "rfeye000008", "host_add": ""})
    bad = {"routing_key": "host.backup", "payload": body, "payload_encoding": "string"}
    properties = {"message_id": LETTER, "delivery_mode": 2}
    broker.api("POST", "exchanges/%2F/uploaderd/publish", {**bad, "properties": properties})
    wait_until(is_there)


@contextlib.contextmanager
def namespace(here: Site, folder: Path) -> Iterator[int]:
    """The process that holds the mounts in which a page's commands run."""
    (folder / "layer").mkdir()
    (folder / "dist").mkdir()
    # The user zabbix may not reach the Python that runs the tests.
    check = one_file(folder / "dist" / "uploaderd-zabbix-request", Path("/usr/bin/python3"))
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _INSIDE, "sh"]
    places = [folder / "layer", here.system.config.parent, here.system.repository, check]
    with subprocess.Popen(
        [*command, *places], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        yield holder.pid
        holder.communicate("\n", timeout=60)


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_the_page_work(page: Path, here: Site, tmp_path: Path) -> None:
    with namespace(here, tmp_path) as holder:
        for command in runnable(page):
            if command.startswith("uploaderctl dead"):
                leave_a_dead_letter(here)
            done = in_the_system(here, holder, command, tmp_path)
            said = f"{command}\n{done.stdout}{done.stderr}"
            statuses = (0, 1) if command.endswith("# status 0 or 1") else (0,)
            assert done.returncode in statuses, said
            assert "Traceback" not in said
            assert "usage:" not in done.stderr, said
            assert '"status_query": 0' not in said


def in_the_system(
    here: Site, holder: int, command: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Runs one command as an operator's shell would; a password is typed if it asks for one."""
    broker = here.system.broker.environment
    path = f"{Path(sys.executable).parent}:/usr/lib/rabbitmq/bin:{os.environ['PATH']}"
    return subprocess.run(
        ["nsenter", "--mount", "-t", str(holder), "--wd", "sh", "-c", command],
        env={**os.environ, **broker, "PATH": path},
        input="secret\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_operators_are_told_more_than_a_few_commands() -> None:
    assert sum(len(runnable(page)) for page in RUN) > 40
