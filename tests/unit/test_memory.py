"""A worker loads nothing that nobody uses."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from uploaderd import memory
memory.spare()
import paramiko
import uploaderd.services.backup
for name in ("invoke", "yaml", "unittest", "numpy", "pyarrow"):
    assert sys.modules.get(name) is None, name
"""


def test_a_worker_of_backups_loads_neither_invoke_nor_numpy() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
