from __future__ import annotations

import itertools
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import amqpfire.__main__
import uploaderd.__main__
import uploaderd.ctl.main
from amqpfire import zabbix
from tests.unit.docs.blocks import OURS, PAGES, ROOT, blocks, ours, runnable

PARSERS = {
    "uploaderd": uploaderd.__main__.build_parser,
    "uploaderctl": uploaderd.ctl.main.build_parser,
    "amqpfire": amqpfire.__main__.build_parser,
}
NEEDS = {
    "# needs systemd": {"systemctl"},
    "# needs a distribution with dnf": {"dnf"},
}
"""Why a block is not run, and the programs that this is true of."""


def test_every_command_has_options_that_exist() -> None:
    found = [(page, line) for page in PAGES for line in ours(page)]
    assert len(found) > 30
    for page, line in found:
        if re.search(r"\w\|\w|\[-", line):
            continue  # A synopsis is no command.
        # A pipe, a redirection or an alternative is the shell's affair.
        words = shlex.split(re.split(r" (?:\||>|&&)", line)[0], comments=True)
        assert understood(words), f"{page.relative_to(ROOT)}: {line}"


def understood(words: list[str]) -> bool:
    """True if the program takes these arguments."""
    if words[0] == "uploaderd-zabbix-request":
        return bool(zabbix.body_of(words[1:]))
    try:
        PARSERS[words[0]]().parse_args(words[1:])
    except SystemExit as ended:
        return ended.code == 0
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_not_run_says_why_and_is_sound_shell(page: Path) -> None:
    for text in blocks(page, "sh"):
        reason, *commands = text.splitlines()
        assert {line.split(" ")[0] for line in commands} <= NEEDS[reason]
    for text in (*blocks(page, "sh"), "\n".join(runnable(page))):
        checked = subprocess.run(
            ["bash", "-n"], input=text, text=True, capture_output=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def test_operators_see_no_command_that_is_not_run() -> None:
    """Indented code is a file's content there, and never a command."""
    for page in PAGES:
        if page.parent.name in ("operators", "zabbix") or page.stem == "operations":
            indented = re.findall(r"^ {4}(\S+)", page.read_text(), re.MULTILINE)
            assert not set(indented) & {*OURS, *itertools.chain(*NEEDS.values())}, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", page.read_text()):
        if target and "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_section_that_the_table_of_symptoms_names_is_there() -> None:
    text = (ROOT / "docs" / "operators" / "recover.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
    wanted = set(re.findall(r"\]\(#([^)]*)\)", text))
    assert wanted == anchors


def test_keys_that_the_pages_name_are_in_the_schemas() -> None:
    reference = (ROOT / "docs" / "configuration.md").read_text()
    for name in ("secure", "scale-out", "recover"):
        text = (ROOT / "docs" / "operators" / f"{name}.md").read_text()
        for key in re.findall(r"`((?:supervision|rabbitmq|logging|database|http)\.\w+)`", text):
            assert f"`{key}`" in reference, f"{name}: {key}"
