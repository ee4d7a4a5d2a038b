from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from lab import plain_sftp
from lab.station import Station, lay_out


@pytest.fixture
def sftp() -> Iterator[paramiko.SFTPClient]:
    with plain_sftp.session() as client:
        yield client


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return lay_out(tmp_path / "station")
