"""Whatever a test starts, it starts below `var/test` and ends by pid."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["tests.fixtures.broker", "tests.fixtures.database", "tests.fixtures.stations"]

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT.parent / "shared" / "data"

# A deadline would fail a test on a busy machine, and tell nothing of the code. Continuous
# integration judges a change and tries the same examples each time; who develops tries new ones.
hypothesis.settings.register_profile(
    "default", deadline=None, database=None, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if not config.option.basetemp:
        folder = ROOT / "var" / "test" / str(os.getpid())
        folder.mkdir(parents=True, exist_ok=True)
        config.option.basetemp = str(folder / "pytest")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(ROOT / "var" / "test" / str(os.getpid()), ignore_errors=True)


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder with real measurement files; they are read where they lie."""
    if not SAMPLES.is_dir():
        pytest.skip("the real measurement files are not beside the project")
    return SAMPLES
