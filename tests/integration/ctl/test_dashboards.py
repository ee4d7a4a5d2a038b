"""The dashboards: their queries run, the metrics that they name are served."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.truth import UID, wait_until
from tests.integration.ctl.conftest import Live
from tests.integration.ctl.test_live_status import page

DASHBOARDS = Path(__file__).parents[3] / "dashboards"
_MACROS = (
    (
        r"\$__timeFilter\((\w+)\)",
        r"(\1 >= now() - INTERVAL 7 DAY AND \1 <= now() + INTERVAL 1 DAY)",
    ),
    (r"\$__timeInterval\((\w+)\)", r"toStartOfInterval(toDateTime(\1), INTERVAL 3600 second)"),
    (r"\$\{station:singlequote\}", f"'{UID}'"),
)
"""What Grafana's ClickHouse plugin makes of its macros."""


def dashboard(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DASHBOARDS / f"{name}.json").read_text())
    return found


def targets(board: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target


@pytest.mark.parametrize("name", ["daemon", "catalog"])
def test_panels_are_told_apart_and_name_no_data_source_of_ours(name: str) -> None:
    board = dashboard(name)
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers)) > 10
    assert board["templating"]["list"][0]["type"] == "datasource"
    sources = [panel["datasource"] for panel in board["panels"]]
    sources += [target["datasource"] for _, target in targets(board)]
    sources += [each["datasource"] for each in board["templating"]["list"][1:]]
    assert {source["uid"] for source in sources} == {"${datasource}"}
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    for number, (x, y, width, height) in enumerate(places):
        assert x + width <= 24
        for left, top, wide, high in places[:number]:
            assert x >= left + wide or left >= x + width or y >= top + high or top >= y + height


def test_every_query_of_the_catalog_runs_and_finds_something(live: Live) -> None:
    board = dashboard("catalog")
    variable = board["templating"]["list"][1]["query"]
    found: dict[str, int] = {}
    with live.site.system.catalog() as catalog:
        assert {"host_uid": UID} in catalog.query(variable)
        for title, target in targets(board):
            sql = target["rawSql"]
            for macro, meaning in _MACROS:
                sql = re.sub(macro, meaning, sql)
            assert "$" not in sql, title
            found[title] = len(catalog.query(sql))
    empty = {title for title, rows in found.items() if not rows}
    # The system's one station has no error, and its generated files are older than a week.
    assert empty <= {
        "Errors by class",
        "Last error of each class",
        "Noise floor (10 % level)",
        "Bands measured",
    }


def test_every_metric_that_is_named_is_served(live: Live) -> None:
    expressions = [target["expr"] for _, target in targets(dashboard("daemon"))]
    variable = dashboard("daemon")["templating"]["list"][1]["query"]["query"]
    rules = yaml.safe_load((DASHBOARDS / "alerts.yaml").read_text())["groups"][0]["rules"]
    expressions += [variable, *(rule["expr"] for rule in rules)]
    named = {name for each in expressions for name in re.findall(r"uploaderd_\w+", each)}

    def not_served() -> set[str]:
        families = text_string_to_metric_families(page(live, "/metrics"))
        return named - {sample.name for family in families for sample in family.samples}

    # A worker tells what it counted with its next beat.
    wait_until(lambda: not not_served())
    labels = {label for each in expressions for label in re.findall(r"\bby \(([^)]*)\)", each)}
    assert {name for each in labels for name in each.split(", ")} <= {
        "service",
        "outcome",
        "le",
        "code",
        "folder",
    }


def test_every_alert_says_what_to_do() -> None:
    rules = yaml.safe_load((DASHBOARDS / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
