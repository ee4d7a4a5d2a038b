"""A station, its server and a catalog for the services."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import recordings
from lab import sshd as lab_sshd
from tests.integration.services import harness
from uploaderd.catalog.client import Catalog


@pytest.fixture
def site(tmp_path: Path, sshd: lab_sshd.Sshd, catalog: Catalog) -> harness.Site:
    """A station without files, and a catalog without rows."""
    return harness.site(tmp_path, sshd, catalog)


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small and sound measurement file of two flows."""
    path = tmp_path_factory.mktemp("recording") / "one.bin"
    return recordings.write_crfs(path, 1, traces=3).read_bytes()
