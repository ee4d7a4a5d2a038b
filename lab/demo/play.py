"""The demo itself, step by step."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab import system
from lab.demo import show, stage
from lab.demo.stage import Stage
from lab.system import System
from uploaderd.catalog.client import Catalog

WAIT_S = 120.0


def run(folder: Path, *, files: Path | None, hold: Callable[[], None] | None = None) -> int:
    """Plays the whole job; status 0 if every file of the stations is accounted for.

    With `hold`, what is running is shown and `hold` is called before everything is ended.
    """
    steps = show.Steps()
    steps.step("a broker and a database of our own start")
    with contextlib.ExitStack() as ending:
        running = system.start(folder)
        ending.callback(running.stop)
        show.say(
            f"RabbitMQ on port {running.broker.port}, ClickHouse's engine on port "
            f"{running.database.settings.port}, both on loopback"
        )
        steps.step("three stations with measurement files start")
        stations = stage.set_up(folder, files)
        for station in stations:
            ending.callback(station.stop)
            show.say(f"{station.uid}: sshd on port {station.port}, {station.due()} files due")
        steps.step("the daemon starts, with its four services")
        running.behaviour["backup"] = {
            "agent_config": stage.AGENT_CONFIG,
            "key_file": str(folder / "client_key"),
        }
        running.configure()
        running.start_daemon()
        steps.step("every station is asked for with amqpfire")
        began = datetime.now(UTC)
        _ask(running, stations)
        steps.step("files come in")
        outcome = _await_files(running, stations, began)
        steps.step("the catalog is published as Parquet")
        show.say(json.dumps(running.ask("publish", mode="incremental")))
        steps.step("what landed")
        picture = _what_landed(running)
        complete = _account(steps, outcome, stations, picture)
        if hold:
            _look_around(running, stations)
            hold()
    return 0 if complete else 1


def _ask(running: System, stations: Sequence[Stage]) -> None:
    for station in stations:
        answer = running.ask(
            "host-request",
            host_id=station.host_id,
            host_uid=station.uid,
            host_add="127.0.0.1",
            host_port=station.port,
            user=station.user,
        )
        answer.pop("request", None)
        show.say(f"{station.uid}: {json.dumps(answer)}")


def _await_files(
    running: System, stations: Sequence[Stage], began: datetime
) -> dict[str, dict[str, Any]]:
    """Shows the counts until every station's backup has ended and every file is settled.

    Gives the last event of each station's backup, by station.
    """
    until = time.monotonic() + WAIT_S
    with running.catalog() as catalog:
        while True:
            stages = catalog.query("SELECT stage, count() AS files FROM files_now GROUP BY stage")
            counts = {row["stage"]: row["files"] for row in stages}
            ended = _ended(catalog, began)
            done = len(ended) == len(stations) and not counts.get("fetched")
            text = ", ".join(f"{counts[name]} {name}" for name in sorted(counts)) or "nothing yet"
            show.progress(f"{sum(s.due() for s in stations)} due; so far {text}", last=done)
            if done or time.monotonic() > until:
                return ended
            time.sleep(0.2)


def _ended(catalog: Catalog, began: datetime) -> dict[str, dict[str, Any]]:
    rows = catalog.query(
        "SELECT host_uid, argMax(event, at) AS event, argMax(text, at) AS text,"
        " argMax(files, at) AS files FROM host_events_now WHERE at >= %(began)s"
        " GROUP BY host_uid HAVING event IN ('backup_done', 'backup_failed', 'backup_waiting')",
        {"began": began},
    )
    return {row["host_uid"]: row for row in rows}


def _what_landed(running: System) -> Path | None:
    with running.catalog() as catalog:
        show.table(
            catalog.query(
                "SELECT host_id AS host, any(host_uid) AS station, countIf(stage = 'processed')"
                " AS processed, countIf(stage = 'trashed') AS trashed,"
                " countIf(stage = 'failed') AS refused,"
                " formatReadableSize(sum(size)) AS size FROM files_now"
                " GROUP BY host_id ORDER BY host_id"
            )
        )
        print()
        show.table(
            catalog.query(
                "SELECT station, description, freq_start / 1e6 AS from_MHz,"
                " freq_stop / 1e6 AS to_MHz, count() AS spectra, sum(traces) AS traces,"
                " round(avg(level_mean), 1) AS mean_level, any(unit) AS unit FROM spectra_now"
                " GROUP BY station, description, freq_start, freq_stop"
                " ORDER BY station, freq_start"
            )
        )
        print()
        trashed = catalog.query(
            "SELECT remote_path AS file, error_code AS why FROM files_now"
            " WHERE stage IN ('trashed', 'failed') ORDER BY remote_path"
        )
        show.table(trashed, empty="no file was put into the trash or refused")
        print()
        for path in sorted((running.published / "current").resolve().rglob("*.parquet")):
            relative = path.relative_to((running.published / "current").resolve())
            show.say(f"published/current/{relative}  {path.stat().st_size:,} bytes")
        return _picture(running, catalog)


def _picture(running: System, catalog: Catalog) -> Path | None:
    from uploaderd.formats.plot import plot_recording

    longest = catalog.query(
        "SELECT any(files_now.path) AS path FROM spectra_now"
        " JOIN files_now ON files_now.file_id = spectra_now.file_id"
        " GROUP BY files_now.file_id ORDER BY max(traces) DESC LIMIT 1"
    )
    if not longest:
        return None
    picture = running.folder / "spectrum.png"
    plot_recording(running.repository / longest[0]["path"], picture)
    return picture


def _account(
    steps: show.Steps,
    outcome: dict[str, dict[str, Any]],
    stations: Sequence[Stage],
    picture: Path | None,
) -> bool:
    """Says how it went; whether every station's backup is done."""
    print()
    if picture:
        show.say(f"picture of one spectrum: {picture.relative_to(system.ROOT)}")
    for station in stations:
        ended = outcome.get(station.uid, {"event": "backup_waiting", "text": "no end in sight"})
        show.say(f"{station.uid}: {ended['event'].replace('_', ' ')}: {ended['text']}")
        if station.due():
            show.say(f"  {station.due()} refused lines stay in its index, for somebody to look at")
    done = [each for each in outcome.values() if each["event"] == "backup_done"]
    if len(done) < len(stations):
        steps.step("NOT every station's backup is done: var/demo/uploaderd.log says more")
        return False
    new = sum(each["files"] for each in done)
    steps.step(f"done: {new} new files, each accounted for" if new else "done: nothing new")
    return True


def _look_around(running: System, stations: Sequence[Stage]) -> None:
    show.say("Everything goes on running. Look around:")
    asking = f"-p host_id={stations[0].host_id} query_tag=catalog --wait 10"
    for command in (
        f"uploaderctl status -c {running.config} -s {running.services}",
        f"uploaderctl query --list -s {running.services}",
        f"amqpfire -c {running.services}/host-request.json -s host-request {asking}",
    ):
        show.say(f"  .venv/bin/{command.replace(f'{system.ROOT}/', '')}")
    show.say("and end it with: scripts/demo --stop")
