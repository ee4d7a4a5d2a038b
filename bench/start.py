"""Start time of the tools that are run for each message, against the bare interpreter.

In processor time of the whole process, the least of many alternating runs: wall time on a shared
machine tells of its other users. `request` gets as far as an address at which no broker listens,
so it has loaded everything that a message takes. The interpreter runs without the checkout's
environment, as in an installed package, for an editable checkout adds an import hook of its own.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pika

ROUNDS = 25
ROOT = Path(__file__).parent.parent
LIBRARY = Path(pika.__file__).parent.parent
PYTHON = Path(sys.executable).resolve()
NOWHERE = ("--server", "127.0.0.1", "--port", "1")
PASS = ("-c", "pass")


def run() -> Iterator[dict[str, Any]]:
    """The result of each case."""
    with tempfile.TemporaryDirectory(prefix="uploaderd-bench-") as folder:
        config = Path(folder) / "zabbix.json"
        config.write_text('{"rabbitmq": {"host": "127.0.0.1", "port": 1}}')
        check = ("-m", "amqpfire.zabbix", f"config={config}", "host_uid=rfeye002218")
        fire = ("-m", "amqpfire", "-s", "host-request", "-p", "host_id=7")
        yield _case("uploaderd-zabbix-request: request", check)
        yield _case("amqpfire: request", (*fire, *NOWHERE))
        yield _case("amqpfire: check only", (*fire, "--dry-run"))


def _case(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    ours, bare = [], []
    for _ in range(ROUNDS):
        ours.append(_processor_ms(arguments))
        bare.append(_processor_ms(PASS))
    return {
        "case": name,
        "ours": round(min(ours), 1),
        "reference": round(min(bare), 1),
        "reference_name": "python3 -c pass",
        "ratio": round(min(ours) / min(bare), 2),
        "unit": "ms",
        "runs": ROUNDS,
    }


def _processor_ms(arguments: Sequence[str]) -> float:
    """User and system time of one run, with everything found on one path."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [PYTHON, "-P", *arguments],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{LIBRARY}"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
