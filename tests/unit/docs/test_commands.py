from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import amqpfire.__main__
import uploaderd.__main__
import uploaderd.ctl.main
from amqpfire import zabbix
from tests.unit.docs.blocks import PAGES, ROOT, blocks, ours

PARSERS = {
    "uploaderd": uploaderd.__main__.build_parser,
    "uploaderctl": uploaderd.ctl.main.build_parser,
    "amqpfire": amqpfire.__main__.build_parser,
}
NOT_RUN = {
    *("systemctl", "journalctl", "systemd-analyze", "dnf", "rpm", "install", "rabbitmqctl"),
    *("ln", "clickhouse-client", "rsync", "runuser", "ssh-keygen"),
}
"""What a block marked `sh` may begin with, beside our own commands that need a real station."""


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
def test_what_is_not_run_needs_a_machine_of_its_own(page: Path) -> None:
    for text in blocks(page, "sh"):
        for line in text.splitlines():
            word = line.split(" ")[0]
            assert word in NOT_RUN or line.startswith(
                ("uploaderctl doctor ssh", "uploaderctl dead")
            ), line


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
