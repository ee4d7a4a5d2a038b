"""`uploaderctl status` and the pages on a running system."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.truth import HOST, signal_service
from tests.integration.ctl.conftest import CANARY, FILES, REFUSED, UNREACHABLE, Live
from tests.integration.supervisor.running import until
from uploaderd.ctl.main import main
from uploaderd.observe.metrics import METRICS

ROOT = Path(__file__).parents[3]


def page(live: Live, path: str) -> str:
    address = f"http://127.0.0.1:{live.status()['http_port']}{path}"
    with urllib.request.urlopen(address, timeout=20) as answer:
        text: str = answer.read().decode()
    return text


def total(text: str, name: str, **labels: str) -> float:
    """The sum of a metric's series that have the labels."""
    found = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"uploaderd_{name}" and labels.items() <= sample.labels.items():
                found += sample.value
    return found


def test_the_page_of_metrics_tells_what_happened(live: Live) -> None:
    expected: list[tuple[str, dict[str, str], int]] = [
        ("files_fetched_total", {"service": "backup"}, FILES + 1),
        ("files_processed_total", {"outcome": "trashed"}, 1),
        ("spectra_total", {}, 2 * FILES),
        ("message_seconds_count", {"service": "process"}, FILES + 1),
        ("dead_letters_total", {"code": "authentication"}, 1),
    ]

    def counted() -> str | None:
        """The page, once the workers' last signs of life have brought all counters."""
        text = page(live, "/metrics")
        same = all(total(text, name, **labels) == number for name, labels, number in expected)
        return text if same and total(text, "retries_total", code="unreachable") >= 1 else None

    text = until(counted, f"counters as {expected}")
    assert text is not None
    families = {family.name: family for family in text_string_to_metric_families(text)}
    known = {f"uploaderd_{name}".removesuffix("_total") for name in METRICS}
    assert families.keys() <= known
    assert all(family.documentation for family in families.values())
    assert total(text, "bytes_fetched_total") > 1000
    assert total(text, "queue_dead_messages", service="backup") == 1
    assert total(text, "queue_consumers", service="process") == 1
    assert total(text, "disk_free_bytes") > 0
    assert CANARY not in text


def test_counters_go_on_when_a_worker_is_killed_and_replaced(live: Live) -> None:
    before = total(page(live, "/metrics"), "spectra_total")
    restarts = total(page(live, "/metrics"), "restarts_total", service="process")
    until(lambda: signal_service(live.site.system, "process", signal.SIGKILL), "a process to kill")
    until(
        lambda: (
            total(page(live, "/metrics"), "restarts_total", service="process") > restarts
            and total(page(live, "/metrics"), "up", service="process") == 1
        ),
        "its successor",
    )
    assert total(page(live, "/metrics"), "spectra_total") == before > 0


def test_every_metric_is_documented() -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text()
    assert set(re.findall(r"`uploaderd_(\w+)`", text)) == set(METRICS)


def shown(live: Live, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object]]:
    capsys.readouterr()
    health = main(["status", "--json", *live.files])
    return health, json.loads(capsys.readouterr().out)


def test_the_console_tells_of_queues_stations_errors_and_disks(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    def waiting() -> tuple[int, dict[str, object]] | None:
        health, told = shown(live, capsys)
        assert isinstance(told["queues"], list)
        queue = next(each for each in told["queues"] if each["service"] == "backup")
        assert queue["dead"] == 1
        # On its way from one queue to the next, a message is in none.
        held = queue["retrying"] + queue["in_flight"] + queue["ready"]
        return (health, told) if held else None

    found = until(waiting, "the backup that is tried again")
    assert found is not None
    health, told = found
    assert (health, told["health"]) == (1, 1)
    assert "backup has 1 dead letter" in str(told["reason"])
    assert isinstance(told["stations"], list)
    states = {each["host_id"]: each["state"] for each in told["stations"]}
    assert states[HOST] == "fine"
    assert states[REFUSED] == "failed"
    assert states[UNREACHABLE] in ("waiting", "running")
    assert isinstance(told["errors"], list)
    assert {"authentication", "unreachable"} <= {each["code"] for each in told["errors"]}
    assert isinstance(told["disks"], list)
    assert told["disks"][0]["days_left"] > 0
    assert isinstance(told["growth_bytes_a_day"], int)
    assert main(["status", *live.files]) == 1
    text = capsys.readouterr().out
    for title in ("SERVICES", "INSTANCES", "QUEUES", "STATIONS", "ERRORS", "DISKS"):
        assert title in text
    assert CANARY not in text + str(told)
    assert "\x1b" not in text


def test_every_key_of_the_status_is_documented(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    named = set(re.findall(r"`(\w+)(?:\[\])?`", (ROOT / "docs" / "monitoring.md").read_text()))

    def keys(value: object) -> set[str]:
        if isinstance(value, Mapping):
            inner = (keys(each) for key, each in value.items() if key not in ("counts", "queue"))
            return set(value) | set().union(*inner)
        if isinstance(value, list):
            return set().union(*map(keys, value))
        return set()

    assert keys(shown(live, capsys)[1]) <= named


def test_a_terminal_gets_colours_and_lines_that_fit(live: Live) -> None:
    for columns, environment, coloured in ((60, {}, True), (200, {"NO_COLOR": "1"}, False)):
        text = in_terminal(["status", *live.files], columns, environment)
        lines = text.splitlines()
        plain = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in lines]
        assert max(map(len, plain)) <= columns
        assert ("\x1b[" in text) == coloured
        assert any("SERVICES" in line for line in plain)


def in_terminal(words: list[str], columns: int, environment: dict[str, str]) -> str:
    """What the console prints on a terminal of so many columns."""
    ours, theirs = os.openpty()
    size = {"COLUMNS": str(columns), "LINES": "30", "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "uploaderd.ctl.main", *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        env={**os.environ, **environment, **size},
    ):
        os.close(theirs)
        text = b""
        # Linux tells the end of a terminal's other side by an error.
        with contextlib.suppress(OSError):
            while more := os.read(ours, 65536):
                text += more
    os.close(ours)
    return text.decode().replace("\r\n", "\n")
