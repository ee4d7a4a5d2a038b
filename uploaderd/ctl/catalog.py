"""`uploaderctl catalog`: brings the database to this release's schema, and checks it."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uploaderd.ctl import archive
from uploaderd.ctl.services import ETC

if TYPE_CHECKING:
    from uploaderd.config.settings import DatabaseSettings

SERVICES = ETC / "services.d"
EPILOG = """examples:
  uploaderctl catalog migrate
  uploaderctl catalog migrate --dry-run --host db1 --password-file /run/secrets/db
  uploaderctl catalog migrate --cluster main --print | clickhouse-client --multiquery
  uploaderctl catalog check --json
  uploaderctl catalog reference load municipalities.csv states.csv
  uploaderctl catalog backup /var/backups/uploaderd
  uploaderctl catalog restore /var/backups/uploaderd --database second
"""


def add_database_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which database; without any, the daemon's, else the local one."""
    group = parser.add_argument_group("database")
    group.add_argument(
        *("-s", "--services"),
        type=Path,
        metavar="DIR",
        help=f"take it from a folder of services; default {SERVICES}, if it is there and no --host",
    )
    group.add_argument("--host", help="default 127.0.0.1")
    group.add_argument("--port", type=int, help="native protocol, default 9000")
    group.add_argument("--database", help="default uploaderd")
    group.add_argument("--user", help="default default")
    group.add_argument("--password-file", type=Path, help="file that holds only the password")


def database_settings(arguments: argparse.Namespace) -> DatabaseSettings:
    """The settings that the options name; single options go before the services' folder.

    Raises:
        ConfigError: a file that is named cannot be read, or is not valid.
    """
    from uploaderd.config.settings import DatabaseSettings
    from uploaderd.errors import ConfigError
    from uploaderd.secret import Secret

    settings = DatabaseSettings()
    folder = arguments.services
    if folder is None and arguments.host is None and SERVICES.is_dir():
        folder = SERVICES
    if folder:
        from uploaderd.config import load_services

        services = load_services(folder)
        if not services:
            raise ConfigError(
                f"{folder} holds no service.", hint="Name the database with --host, or another -s."
            )
        settings = services[0].database
    given: dict[str, Any] = {
        name: value
        for name in ("host", "port", "database", "user")
        if (value := getattr(arguments, name)) is not None
    }
    if arguments.password_file:
        try:
            text = arguments.password_file.read_text("utf-8").rstrip("\n")
        except OSError as error:
            raise ConfigError(
                f"The password file {arguments.password_file} cannot be read: {error.strerror}."
            ) from error
        given["password"] = Secret(text)
    return replace(settings, **given)


def register(commands: Any) -> None:
    """Adds `catalog migrate` and `catalog check`."""
    parser = commands.add_parser(
        "catalog",
        help="migrate or check the database",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    migrate = actions.add_parser("migrate", help="bring the database to this release's schema")
    migrate.add_argument("--dry-run", action="store_true", help="only say what is pending")
    migrate.add_argument("--cluster", metavar="NAME", help="the form for a cluster; with --print")
    migrate.add_argument("--print", action="store_true", help="print its SQL, asking no server")
    check = actions.add_parser("check", help="status 0: the schema is this release's; 1: it is not")
    migrate.set_defaults(run=_migrate)
    check.set_defaults(run=_check)
    reference = actions.add_parser("reference", help="official codes, gazetteer, types and units")
    tables = reference.add_subparsers(dest="reference", required=True, metavar="ACTION")
    load = tables.add_parser("load", help="load CSV files; their headers tell what they are")
    load.add_argument("files", nargs="+", type=Path, metavar="FILE")
    load.set_defaults(run=_load_reference)
    for action in (migrate, check, load, *archive.register(actions, database_settings)):
        action.add_argument("--json", action="store_true", help="one JSON object")
        add_database_options(action)


def _migrate(arguments: argparse.Namespace) -> int:
    from uploaderd.catalog import migrate

    settings = database_settings(arguments)
    if arguments.cluster:
        return _print_cluster(arguments, settings.database)
    if arguments.dry_run:
        names = migrate.plan(settings)
        _say(arguments, {"pending": names}, f"pending: {', '.join(names) or 'nothing'}")
        return 0
    applied = migrate.migrate(settings)
    text = f"applied: {', '.join(applied)}" if applied else "the database is up to date"
    _say(arguments, {"applied": applied}, text)
    return 0


def _print_cluster(arguments: argparse.Namespace, database: str) -> int:
    from uploaderd.catalog import cluster
    from uploaderd.errors import ConfigError

    if not (arguments.print or arguments.dry_run):
        raise ConfigError(
            "The schema of a cluster is printed and not applied: that is for its administrator.",
            hint="Add --print and give the SQL to clickhouse-client --multiquery.",
        )
    print(*cluster.script(database, arguments.cluster), sep=";\n\n", end=";\n")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from uploaderd.catalog import migrate

    names = migrate.plan(database_settings(arguments))
    text = f"pending: {', '.join(names)}" if names else "the database is up to date"
    _say(arguments, {"ok": not names, "pending": names}, text)
    return 1 if names else 0


def _load_reference(arguments: argparse.Namespace) -> int:
    from uploaderd.catalog import Catalog, reference

    with Catalog(database_settings(arguments)) as catalog:
        for path in arguments.files:
            table, rows = reference.load(catalog, path)
            answer = {"file": str(path), "table": table, "loaded": rows}
            _say(arguments, answer, f"{path}: {rows} rows loaded into {table}")
    return 0


def _say(arguments: argparse.Namespace, answer: dict[str, Any], text: str) -> None:
    print(json.dumps(answer) if arguments.json else text)
