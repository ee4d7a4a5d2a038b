"""Runs the driver's own tests against the embedded engine, and tells what is not as expected.

Without a folder, the tests that the source archive of the installed version has are fetched from
the package index; a checkout of the driver's repository has the column tests, too.
"""

from __future__ import annotations

import argparse
import fnmatch
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from lab import database

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NEEDS = ("freezegun", "parameterized", "zstd")
STAND_INS = {
    "tests/__init__.py": "",
    "tests/log.py": "from lab.conformance.stand_in import configure\n",
    "tests/util.py": "from lab.conformance.stand_in import *\n",
    "tests/numpy/__init__.py": "",
    "tests/numpy/util.py": "from lab.conformance.stand_in import check_numpy\n",
}


def main() -> int:
    """Status 0: every failure is one of the expected differences."""
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="a checkout of the driver")
    parser.add_argument("-k", default="", help="only tests whose names match, as pytest's -k")
    arguments = parser.parse_args()
    var = ROOT / "var"
    var.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=var, prefix="conformance-") as name:
        work = Path(name)
        source = _copied(arguments.folder, work) if arguments.folder else _fetched(work)
        # The driver's tests expect a server at Moscow.
        server = database.start(work / "database", environment={"TZ": "Europe/Moscow"})
        try:
            report = _run(source, server.settings.port, arguments.k)
        finally:
            server.stop()
        return _told(report)


def expected() -> dict[str, str]:
    """Patterns of test names that may fail, each with its reason."""
    lines = (HERE / "expected.txt").read_text("utf-8").splitlines()
    pairs = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    return {pattern: reason.strip() for pattern, reason in pairs}


def _fetched(work: Path) -> Path:
    wanted = f"clickhouse-driver=={version('clickhouse-driver')}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary"]
    subprocess.run([*command, ":all:", "--dest", str(work), wanted], check=True)
    (archive,) = work.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(work, filter="data")
    (source,) = work.glob("clickhouse_driver-*/")
    return source


def _copied(folder: Path, work: Path) -> Path:
    """The tests alone: the driver is the installed one."""
    from shutil import copy, copytree

    source = work / "source"
    copytree(folder / "tests", source / "tests")
    copy(folder / "setup.cfg", source)
    return source


def _run(source: Path, port: int, names: str) -> Path:
    for name, text in STAND_INS.items():
        helper = source / name
        helper.parent.mkdir(exist_ok=True)
        if not helper.exists():
            helper.write_text(text)
    settings = (source / "setup.cfg").read_text("utf-8")
    lines = [line for line in settings.splitlines() if not line.startswith(("host", "port"))]
    at = lines.index("[db]") + 1
    lines[at:at] = ["host = 127.0.0.1", f"port = {port}"]
    (source / "setup.cfg").write_text("\n".join(lines))
    # The installed driver is tested, not the archive's, which is not built.
    if (source / "clickhouse_driver").exists():
        (source / "clickhouse_driver").rename(source / "unbuilt")
    report = source / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "lab.conformance.plugin"]
    command += [
        "-c",
        "setup.cfg",
        "-k",
        names,
        "--continue-on-collection-errors",
        f"--junitxml={report}",
        "--rootdir=.",
        "tests",
    ]
    path = f"{source}:{ROOT}:{_needs()}"
    done = subprocess.run(
        ["env", f"PYTHONPATH={path}", "PYTHONDONTWRITEBYTECODE=1", *command],
        cwd=source,
        check=False,
        capture_output=True,
        text=True,
    )
    (ROOT / "var" / "conformance.log").write_text(done.stdout + done.stderr)
    if not report.exists():
        raise SystemExit(f"the tests did not run:\n{done.stdout}{done.stderr}")
    return report


def _needs() -> Path:
    """A folder with what the driver's tests import beside the driver."""
    folder = ROOT / "var" / "conformance-needs"
    missing = [name for name in NEEDS if not any(folder.glob(f"{name}*"))]
    if missing:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
        subprocess.run([*command, *missing], check=True)
    return folder


def _told(report: Path) -> int:
    known, used, unexpected = expected(), set(), []
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        if case.find("skipped") is not None:
            counts["skipped"] += 1
        elif case.find("failure") is None and case.find("error") is None:
            counts["passed"] += 1
        else:
            counts["failed"] += 1
            matches = [pattern for pattern in known if fnmatch.fnmatch(name, pattern)]
            used.update(matches)
            unexpected += [] if matches else [name]
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    for pattern in sorted(used):
        print(f"expected: {pattern}: {known[pattern]}")
    for name in unexpected:
        print(f"not expected: {name}")
    if unexpected:
        print("what was said: var/conformance.log")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
