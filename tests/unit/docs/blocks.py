"""The commands in the documentation.

A block marked `console` holds commands behind `$ `, which tests run on a system of their own. One
marked `sh` holds what cannot be run there; its first line is a comment that says what it needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("zabbix/*.md"), *ROOT.glob("docs/**/*.md")])
OURS = ("uploaderd", "uploaderctl", "amqpfire", "uploaderd-zabbix-request")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, kind: str) -> list[str]:
    """The texts of a page's blocks of one kind."""
    return [text for mark, text in _BLOCK.findall(page.read_text()) if mark == kind]


def runnable(page: Path) -> list[str]:
    """The commands of a page that are to be run, in order."""
    lines = [line for text in blocks(page, "console") for line in text.splitlines()]
    assert all(line.startswith("$ ") for line in lines), "a console block holds commands only"
    return [line.removeprefix("$ ") for line in lines]


def ours(page: Path) -> Iterator[str]:
    """Every line of a page's code that begins with one of our commands, however it is marked."""
    for line in page.read_text().splitlines():
        text = re.sub(r"^(\$ |    )", "", line)
        if text != line and text.split(" ")[0] in OURS:
            yield text
    for text in blocks(page, "sh"):
        yield from (line for line in text.splitlines() if line.split(" ")[0] in OURS)
