"""`uploaderctl publish`: publishes without the broker, and looks after the published folder."""

from __future__ import annotations

import argparse
import dataclasses
import json
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uploaderd.config.settings import ServiceSettings
    from uploaderd.services.behaviour import PublishBehaviour

EPILOG = """examples:
  uploaderctl publish now -s /etc/uploaderd/services.d
  uploaderctl publish now --dataset spectra --complete --json
  uploaderctl publish now --complete --since 2026-11-01
  uploaderctl publish list
  uploaderctl publish verify && echo sound
  uploaderctl publish rollback 20261122T201530123456Z
"""


def register(commands: Any) -> None:
    """Adds `publish now`, `list`, `verify` and `rollback`."""
    parser = commands.add_parser(
        "publish",
        help="publish the catalog as files, and look after what is published",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = partial(
        actions.add_parser, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    now = add("now", help="publish what changed, in this process")
    now.add_argument("--dataset", default="all", help="which set (default all)")
    now.add_argument("--complete", action="store_true", help="write everything again")
    now.add_argument(
        "--since",
        type=_day,
        metavar="DAY",
        help="leave months before that of this day, as 2026-11-30, as they are",
    )
    kept = add("list", help="the versions that are kept, oldest first")
    verify = add("verify", help="compare files with the manifest; status 1 if anything is wrong")
    verify.add_argument("version", nargs="?", help="default: the current one")
    back = add("rollback", help="make an older version current, until the next publication")
    back.add_argument("version", nargs="?", help="default: the one before the current one")
    for action, run in ((now, _now), (kept, _list), (verify, _verify), (back, _roll_back)):
        action.add_argument("--json", action="store_true", help="one JSON object")
        action.add_argument(
            "-s",
            "--services",
            type=Path,
            metavar="DIR",
            default=Path("/etc/uploaderd/services.d"),
            help="folder of the service files, of which one is publish (default %(default)s)",
        )
        action.set_defaults(run=run)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no day; write it as 2026-11-30") from error


def _now(arguments: argparse.Namespace) -> int:
    from uploaderd.catalog import Catalog
    from uploaderd.publishing.parquet import publish

    service, behaviour = _service(arguments.services)
    with Catalog(service.database) as catalog:
        done = publish(
            catalog,
            behaviour.folder,
            complete=arguments.complete,
            dataset=arguments.dataset,
            since=arguments.since,
            keep=behaviour.keep_versions,
            keep_for_s=behaviour.keep_for_s,
            floor_bytes=behaviour.floor_bytes,
        )
    text = f"{done.version}: {done.rows} rows, {done.written} files written, {done.kept} kept"
    _say(arguments, dataclasses.asdict(done), text if done.written else f"{text}: nothing new")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from uploaderd.publishing import release

    _, behaviour = _service(arguments.services)
    current = release.current_version(behaviour.folder)
    kept = [
        {
            "version": manifest["version"],
            "current": manifest["version"] == current,
            "finished_at": manifest["finished_at"],
            "files": len(manifest["files"]),
            "rows": manifest["rows"],
            "bytes": manifest["bytes"],
        }
        for manifest in release.versions(behaviour.folder)
    ]
    lines = (
        f"{'*' if one['current'] else ' '} {one['version']}  {one['files']} files,"
        f" {one['rows']} rows, {one['bytes']} bytes, finished at {one['finished_at']}"
        for one in kept
    )
    answer = {"folder": str(behaviour.folder), "versions": kept}
    _say(arguments, answer, "\n".join(lines) or "nothing is published yet")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from uploaderd.errors import RepositoryError
    from uploaderd.publishing import files, release

    _, behaviour = _service(arguments.services)
    version = arguments.version or release.current_version(behaviour.folder)
    if version is None:
        raise RepositoryError(f"{behaviour.folder}: nothing is published yet.")
    wrong = list(release.verify(behaviour.folder, version, files.rows_of))
    answer = {"version": version, "ok": not wrong, "wrong": wrong}
    _say(arguments, answer, "\n".join(wrong) or f"{version} is sound")
    return 1 if wrong else 0


def _roll_back(arguments: argparse.Namespace) -> int:
    from uploaderd.publishing import release

    _, behaviour = _service(arguments.services)
    with release.locked(behaviour.folder):
        version = release.roll_back(behaviour.folder, arguments.version)
    _say(arguments, {"current": version}, f"current is {version}")
    return 0


def _service(folder: Path) -> tuple[ServiceSettings, PublishBehaviour]:
    """The publish service of the folder; the first one if there are several."""
    from uploaderd.config import load_services
    from uploaderd.errors import ConfigError
    from uploaderd.services.behaviour import PublishBehaviour

    for service in load_services(folder):
        if service.service == "publish":
            return service, PublishBehaviour.of(service.behaviour)
    raise ConfigError(f"{folder} holds no publish service.")


def _say(arguments: argparse.Namespace, answer: dict[str, Any], text: str) -> None:
    print(json.dumps(answer) if arguments.json else text)
