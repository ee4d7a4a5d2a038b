"""`uploaderctl catalog backup` and `catalog restore`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uploaderd.config.settings import DatabaseSettings

SettingsOf = Callable[[argparse.Namespace], "DatabaseSettings"]


def register(actions: Any, settings_of: SettingsOf) -> tuple[argparse.ArgumentParser, ...]:
    """Adds the two actions below `catalog`; `settings_of` tells the database of their options."""
    write = actions.add_parser("backup", help="write what changed since the last backup")
    write.add_argument("folder", type=Path, help="where the backups lie")
    write.add_argument("--list", action="store_true", help="only say which there are")
    write.add_argument("--verify", action="store_true", help="only read the newest one's files")
    back = actions.add_parser("restore", help="fill an empty database with a backup")
    back.add_argument("folder", type=Path, help="where the backups lie")
    back.add_argument("--name", help="which one (default: the newest)")
    for action, run in ((write, _backup), (back, _restore)):
        action.set_defaults(run=lambda arguments, run=run: run(arguments, settings_of(arguments)))
    return write, back


def _backup(arguments: argparse.Namespace, settings: DatabaseSettings) -> int:
    backup = _module("backup")
    if arguments.list:
        for name in backup.names(arguments.folder):
            manifest = backup.read(arguments.folder, name)
            _say(arguments, {"name": name, "rows": manifest.rows}, f"{name}  {manifest.rows} rows")
        return 0
    if arguments.verify:
        manifest = backup.read(arguments.folder)
        backup.verify(arguments.folder, manifest)
        _say(arguments, {"name": manifest.name, "ok": True}, f"{manifest.name} is sound")
        return 0
    from uploaderd.catalog import Catalog

    with Catalog(settings) as catalog:
        done = backup.write(catalog, arguments.folder, _progress)
    answer = {
        "name": done.manifest.name,
        "rows": done.manifest.rows,
        "chunks": len(done.manifest.chunks),
        "written": done.written,
        "bytes": done.bytes,
    }
    _say(
        arguments,
        answer,
        "{name}: {rows} rows in {chunks} chunks, {written} of them new: {bytes} bytes".format(
            **answer
        ),
    )
    return 0


def _restore(arguments: argparse.Namespace, settings: DatabaseSettings) -> int:
    manifest = _module("backup").read(arguments.folder, arguments.name)
    _module("restore").restore(settings, arguments.folder, manifest, _progress)
    text = f"{manifest.rows} rows of {manifest.name} are restored, and equal to the backup's"
    _say(arguments, {"name": manifest.name, "rows": manifest.rows, "ok": True}, text)
    return 0


def _module(name: str) -> Any:
    """A module that needs pyarrow. Raises ConfigError without it."""
    import importlib

    from uploaderd.errors import ConfigError

    try:
        return importlib.import_module(f"uploaderd.maintenance.{name}")
    except ImportError as error:
        raise ConfigError("Backups need pyarrow: install uploaderd[publish].") from error


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def _say(arguments: argparse.Namespace, answer: dict[str, Any], text: str) -> None:
    print(json.dumps(answer) if arguments.json else text)
