"""The RPMs in a root of their own: installed, verified, upgraded with changed files, removed.

Slow: two builds. The root is this machine's, with an rpm database that knows nothing of it; a small
package stands for what the distribution provides, so that the dependencies are checked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.packaging import root as roots
from tests.integration.packaging.root import Root

ROOT = Path(__file__).parents[3]
ABI = f"{sys.version_info[0]}.{sys.version_info[1]}"
PYTHON = f"/usr/bin/python{ABI}"
STUB = f"""
Name: distribution
Version: 1
Release: 1
Summary: What the distribution has
License: none
BuildArch: noarch
Provides: python(abi) = {ABI}, systemd, /bin/sh, /usr/bin/sed
%description
What the distribution has.
%files
"""
MACROS = """
%dist .el9
%rhel 9
%_unitdir /usr/lib/systemd/system
%_sysusersdir /usr/lib/sysusers.d
%_tmpfilesdir /usr/lib/tmpfiles.d
%_build_id_links compat
%__brp_strip /bin/false
%__brp_mangle_shebangs /bin/false
%__os_install_post %{__brp_strip} %{__brp_mangle_shebangs}
"""
"""What Enterprise Linux 9 defines and Debian does not. Its own steps after an installation would
damage the bundle: here they fail if they are run."""
PROGRAMS = ("uploaderd", "uploaderctl", "amqpfire", "uploaderd-zabbix-request")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Packages:
    """The packages of this release and of the next one, whose example of config.json differs.

    The next one is built with the macros of an RPM distribution.
    """

    stub: Path
    old: dict[str, Path]
    new: dict[str, Path]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    lacking = "" if shutil.which("rpmbuild") else "rpmbuild is not installed (package rpm)"
    lacking = lacking or ("" if Path(PYTHON).exists() else f"{PYTHON} is not installed")
    lacking = lacking or roots.missing()
    if lacking:
        pytest.skip(f"packages cannot be tried: {lacking}")
    folder = tmp_path_factory.mktemp("rpm")
    tree = copy_of_the_tree(folder / "tree")
    old = build(tree)
    change(tree / "uploaderd" / "__init__.py", '__version__ = "', '__version__ = "9.')
    change(tree / "config.json.example", "{", '{\n  "status": {"disk_days": 7},', count=1)
    commit(tree)
    (folder / "home").mkdir()
    (folder / "home" / ".rpmmacros").write_text(MACROS)
    return Packages(stub(folder), old, build(tree, HOME=str(folder / "home")))


def copy_of_the_tree(tree: Path) -> Path:
    """What is under version control, as it is now, in a repository of its own."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    commit(tree)
    return tree


def commit(tree: Path) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", "add", "-A"], cwd=tree, check=True)
    subprocess.run(["git", *who, "commit", "-q", "-m", "a release"], cwd=tree, check=True)


def change(path: Path, old: str, new: str, count: int = -1) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def build(tree: Path, **environment: str) -> dict[str, Path]:
    """Runs scripts/package; gives the packages by name."""
    wheels = {"WHEELS": str(ROOT / "var" / "wheels"), "PYTHON": sys.executable}
    done = subprocess.run(
        [tree / "scripts" / "package"],
        env={**os.environ, **wheels, **environment},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    built = {path.name.split("-")[0]: path for path in (tree / "dist").glob("*.rpm")}
    kept = {name: path.rename(tree.parent / path.name) for name, path in built.items()}
    assert set(kept) == {"uploaderd", "amqpfire"}
    return kept


def stub(folder: Path) -> Path:
    (folder / "stub.spec").write_text(STUB)
    command = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {folder}/stub"]
    subprocess.run([*command, str(folder / "stub.spec")], check=True, capture_output=True)
    return next((folder / "stub").rglob("*.rpm"))


@pytest.fixture
def root(packages: Packages, tmp_path: Path) -> Iterator[Root]:
    """A root that has nothing of ours yet."""
    with roots.root(tmp_path / "root") as made:
        made.rpm("-i", made.put(packages.stub))
        yield made


def test_amqpfire_is_installed_alone_and_works(packages: Packages, root: Root) -> None:
    root.rpm("-i", root.put(packages.old["amqpfire"]))
    root.rpm("-V", "amqpfire")
    assert "host-request" in root.run("amqpfire", "-l").stdout
    refused = root.run(
        "amqpfire", "-s", "publish", "--server", "127.0.0.1", "--port", "1", check=False
    )
    assert (refused.returncode, "Nobody listens" in refused.stderr) == (5, True)
    told = json.loads(root.run("uploaderd-zabbix-request", "host_id={HOST.ID}").stdout)
    assert told["status_query"] == 0
    assert "{HOST.ID}" in told["message_query"]
    root.run("sh", "-c", "! command -v uploaderd")
    root.run("cp", "/usr/bin/uploaderd-zabbix-request", "/usr/local/bin/check")
    root.rpm("-e", "amqpfire")
    assert root.run("sh", "-c", "ls -d /usr/lib/amqpfire", check=False).returncode
    alone = json.loads(root.run("/usr/local/bin/check", "host_uid=x", "host_port=70000").stdout)
    assert "host_port is 70000" in alone["message_query"]


def test_rpmlint_finds_nothing_without_a_reason(packages: Packages) -> None:
    if not shutil.which("rpmlint"):
        pytest.skip("rpmlint is not installed")
    of_both = [*packages.old.values(), *packages.new.values(), ROOT / "rpm" / "uploaderd.spec"]
    command = ["rpmlint", "-r", str(ROOT / "rpm" / "uploaderd.rpmlintrc"), *map(str, of_both)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "; 0 errors, 0 warnings" in done.stdout, done.stdout


def test_an_rpm_distribution_gets_its_own_release(packages: Packages) -> None:
    assert all(path.name.endswith("-1.el9.x86_64.rpm") for path in packages.new.values())
    assert all(path.name.endswith("-1.x86_64.rpm") for path in packages.old.values())


def test_uploaderd_needs_what_it_says(packages: Packages, root: Root) -> None:
    refused = root.rpm("-i", root.put(packages.old["uploaderd"]), check=False)
    assert refused.returncode
    assert "amqpfire = " in refused.stderr
    root.rpm("-e", "distribution")
    refused = root.rpm("-i", root.put(packages.old["amqpfire"]), check=False)
    assert f"python(abi) = {ABI} is needed" in refused.stderr


def test_install_verify_upgrade_with_changed_files_and_remove(
    packages: Packages, root: Root
) -> None:
    root.rpm("-i", *map(root.put, packages.old.values()))
    assert root.rpm("-V", "uploaderd", "amqpfire").stdout == ""
    assert_everything_is_in_its_place(root)
    for program in PROGRAMS[:3]:
        assert root.run(program, "--version").stdout.split()[0] == program

    # The two files that an operator edits: a password, and how much is logged.
    root.run("sed", "-i", 's/"level": "info"/"level": "debug"/', "/etc/uploaderd/config.json")
    edit = 's/"password_credential": "[a-z]*"/"password": "x"/'
    root.run("sh", "-c", f"sed -i '{edit}' /etc/uploaderd/services.d/*.json")
    checked = root.run("runuser", "-u", "uploaderd", "--", "uploaderd", "--check", check=False)
    assert (checked.returncode, checked.stderr) == (0, ""), checked
    changed = root.rpm("-V", "uploaderd", check=False).stdout
    assert re.search(r"^S\.5\.+T\.*\s+c /etc/uploaderd/config.json$", changed, re.MULTILINE)

    root.rpm("-U", *map(root.put, packages.new.values()))
    assert root.run("uploaderd", "--version").stdout.startswith("uploaderd 9.")
    assert "debug" in root.run("cat", "/etc/uploaderd/config.json").stdout
    assert "disk_days" in root.run("cat", "/etc/uploaderd/config.json.rpmnew").stdout
    root.run("runuser", "-u", "uploaderd", "--", "uploaderd", "--check")
    names = root.run("ls", "/etc/uploaderd/services.d").stdout
    assert "rpmnew" not in names, "what has not changed in the package is left alone"

    root.rpm("-e", "uploaderd", "amqpfire")
    root.run("test", "-e", "/etc/uploaderd/config.json.rpmsave")
    for gone in ("/usr/lib/uploaderd", "/usr/lib/amqpfire", "/usr/bin/uploaderd"):
        assert root.run("test", "-e", gone, check=False).returncode, gone


def assert_everything_is_in_its_place(root: Root) -> None:
    """Owner and rights of what must not be read by all; units, pages and completion."""
    listed = root.run("stat", "-c", "%a %U:%G %n", "/etc/uploaderd", "/etc/uploaderd/config.json")
    assert listed.stdout.splitlines() == [
        "750 root:uploaderd /etc/uploaderd",
        "640 root:uploaderd /etc/uploaderd/config.json",
    ]
    assert root.run("stat", "-c", "%a", "/etc/uploaderd/secrets").stdout == "700\n"
    assert "/var/lib/uploaderd" in root.run("getent", "passwd", "uploaderd").stdout
    unit = "/usr/lib/systemd/system/uploaderd.service"
    verified = root.run("systemd-analyze", "verify", "--man=no", unit, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    files = root.rpm("-ql", "uploaderd", "amqpfire").stdout.splitlines()
    for name in PROGRAMS:
        assert any(re.search(rf"/man/man\d/{name}\.\d\.gz$", path) for path in files), name
    for name in PROGRAMS[:3]:
        assert f"/usr/share/bash-completion/completions/{name}" in files
        root.run("bash", "-n", f"/usr/share/bash-completion/completions/{name}")
        assert f"/usr/share/zsh/site-functions/_{name}" in files
    for path in (
        "/usr/share/uploaderd/sql/0001_catalog.sql",
        "/usr/share/uploaderd/dashboards/alerts.yaml",
        "/usr/share/uploaderd/dashboards/catalog.json",
        "/usr/share/uploaderd/dashboards/daemon.json",
        "/usr/share/amqpfire/zabbix/template_uploaderd.yaml",
        "/usr/share/doc/uploaderd/services.d/backup.json.example",
        "/usr/share/doc/uploaderd/stations.d/station.json.example",
        "/usr/lib/sysusers.d/uploaderd.conf",
        "/usr/lib/tmpfiles.d/uploaderd.conf",
    ):
        assert path in files
    assert any("__pycache__" in path for path in files), "it would start slowly without"
