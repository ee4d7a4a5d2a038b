"""What a worker of the backup service loads is what it needs: there is one in every process."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
import uploaderd.worker, uploaderd.services.backup
from clickhouse_driver.columns.datecolumn import DateColumn
print("numpy" in sys.modules, len(DateColumn.date_lut))
"""


def test_a_backup_worker_loads_neither_numpy_nor_a_table_of_all_days() -> None:
    said = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, check=True)
    assert said.stdout.split() == [b"False", b"0"]
