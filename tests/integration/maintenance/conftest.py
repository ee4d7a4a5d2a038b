"""A repository with files in it, its catalog, and the daemon's configuration for both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import recordings
from tests.integration.services import harness
from uploaderd.catalog.client import Catalog
from uploaderd.ctl.main import main


@dataclass
class Home:
    """A place where uploaderd keeps what it has."""

    folder: Path
    catalog: Catalog

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def options(self) -> list[str]:
        """For commands of `uploaderctl`."""
        return ["-c", str(self.folder / "config.json"), "-s", str(self.folder / "services.d")]

    def service(self, name: str, **behaviour: Any) -> None:
        """Adds a service file."""
        folder = self.folder / "services.d"
        folder.mkdir(exist_ok=True)
        harness.settings_of(folder, name, self.catalog.settings, **behaviour)

    def filed(self) -> list[Path]:
        """The files of the final tree."""
        found = self.repository.glob("[0-9u]*/**/*")
        return sorted(path for path in found if path.is_file())


@pytest.fixture
def home(tmp_path: Path, catalog: Catalog) -> Home:
    """Three files of one receiver in the repository, and a broken one in the trash."""
    home = Home(tmp_path, catalog)
    config = {"run_dir": str(tmp_path / "run"), "repository": str(home.repository)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    home.service("process")
    archive = tmp_path / "archive"
    archive.mkdir()
    for number in range(3):
        recordings.write_crfs(archive / f"rec{number}.bin", number)
    (archive / "broken.bin").write_bytes(b"broken")
    main(["load", "--host-id", "7", "--host-uid", "rfeye000001", str(archive), *home.options])
    assert len(home.filed()) == 3
    return home
