"""The page of all keys tells what the schemas say."""

from __future__ import annotations

from pathlib import Path

from uploaderd import config
from uploaderd.config import reference


def test_the_page_is_that_of_the_schemas() -> None:
    page = Path(__file__).parents[3] / "docs" / "configuration.md"
    assert page.read_text() == reference.page()


def test_no_schema_is_left_out() -> None:
    folder = Path(config.__file__).parent / "schemas"
    there = {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.json")}
    assert set(reference.PARTS) == there


def test_every_key_has_a_meaning() -> None:
    assert "| `supervision.crash_limit` | `5` |" in reference.page()
    assert "| `rabbitmq.queue` | required |" in reference.page()
