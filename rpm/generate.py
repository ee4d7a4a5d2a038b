"""Writes man pages and shell completion out of the commands' own parsers.

    python3 rpm/generate.py FOLDER      FOLDER/man/*.{1,8}, FOLDER/bash/*, FOLDER/zsh/*

The format is man(7)'s; what a page says is what `--help` says, so neither can be older than the
other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import shtab

import amqpfire.__main__
import uploaderd.__main__
import uploaderd.ctl.main
from uploaderd import __version__

PARSERS = {
    "uploaderd.8": uploaderd.__main__.build_parser,
    "uploaderctl.1": uploaderd.ctl.main.build_parser,
    "amqpfire.1": amqpfire.__main__.build_parser,
}
SEE_ALSO = "uploaderd(8), uploaderctl(1), amqpfire(1), uploaderd-zabbix-request(1)"


def main() -> None:
    """Writes everything below the folder that is named."""
    folder = Path(sys.argv[1])
    for kind in ("man", "bash", "zsh"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for page, build in PARSERS.items():
        parser, name = build(), page.partition(".")[0]
        (folder / "man" / page).write_text("\n".join(man(parser, page)) + "\n", encoding="utf-8")
        (folder / "bash" / name).write_text(shtab.complete(parser, shell="bash"))
        (folder / "zsh" / f"_{name}").write_text(shtab.complete(parser, shell="zsh"))
    hand = Path(__file__).parent / "uploaderd-zabbix-request.1"
    (folder / "man" / hand.name).write_text(hand.read_text().replace("@VERSION@", __version__))


def man(parser: argparse.ArgumentParser, page: str) -> Iterator[str]:
    """The lines of a command's page."""
    name, section = page.split(".")
    yield f'.TH {name.upper()} {section} "" "uploaderd {__version__}" "uploaderd"'
    first, _, _ = (parser.description or "").partition(".")
    yield from (".SH NAME", f"{escaped(name)} \\- {escaped(first[:1].lower() + first[1:])}")
    yield from (".SH SYNOPSIS", *_synopsis(parser))
    yield from (".SH DESCRIPTION", escaped(parser.description or ""))
    yield from (".SH OPTIONS", *_options(parser))
    for command, help_text, below in _commands(parser):
        yield from (f".SH COMMAND {escaped(command.upper())}", escaped(help_text))
        yield from (*_synopsis(below), *_options(below))
        for inner, inner_help, innermost in _commands(below):
            yield from (f".SS {escaped(command)} {escaped(inner)}", escaped(inner_help))
            yield from (*_synopsis(innermost), *_options(innermost), *_epilog(innermost))
        yield from _epilog(below)
    yield from _epilog(parser, ".SH NOTES")
    yield from (".SH SEE ALSO", SEE_ALSO)


def _synopsis(parser: argparse.ArgumentParser) -> Iterator[str]:
    usage = parser.format_usage().removeprefix("usage: ").rstrip()
    yield from (".PP", ".nf", *map(escaped, usage.splitlines()), ".fi")


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = parser.formatter_class(parser.prog)
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._SubParsersAction):
            continue
        yield ".TP"
        yield f".B {escaped(formatter._format_action_invocation(action))}"
        yield escaped(formatter._expand_help(action) if action.help else "")


def _commands(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, below in action.choices.items():
                yield name, helps.get(name, ""), below


def _epilog(parser: argparse.ArgumentParser, heading: str = ".PP") -> Iterator[str]:
    if parser.epilog:
        yield from (heading, ".nf", *map(escaped, parser.epilog.rstrip().splitlines()), ".fi")


def escaped(text: str) -> str:
    """Text as groff takes it literally: no escapes, no requests at the beginning of a line."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


if __name__ == "__main__":
    main()
