"""The life of one station, file or message, put together from catalog, queues and repository."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from uploaderd.catalog import fleet, history
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import DaemonSettings
from uploaderd.ctl.whereabouts import Broker, letters_of
from uploaderd.observe.states import counted, duration

SETTLED = ("processed", "trashed")


@dataclass(frozen=True)
class Step:
    """Something that happened: when (Unix time), what, and the sentence that tells of it."""

    at: float
    what: str
    text: str


@dataclass
class Trace:
    """One item: what is known of it, its life in the order of time, where it is and what comes."""

    kind: str
    """`host`, `file` or `message`."""
    id: str
    facts: dict[str, Any]
    timeline: list[Step] = field(default_factory=list)
    now: str = ""
    next: str = ""
    dead_letters: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As `uploaderctl explain --json` prints it."""
        return {**asdict(self), "timeline": [asdict(step) for step in self.timeline]}


@dataclass(frozen=True)
class Tracer:
    """Asks catalog, broker and repository; each trace is true at the moment of asking."""

    daemon: DaemonSettings
    catalog: Catalog
    broker: Broker
    silent_h: float

    def traces(self, name: str) -> list[Trace]:
        """All that goes by this name: a station, files, or else a message. Raises CatalogError."""
        found = [self._host(host) for host in history.hosts(self.catalog, name)]
        found += [self._file(file) for file in history.files(self.catalog, name)]
        if not found:
            message = self._message(name)
            found = [message] if message else []
        return found

    # Stations

    def _host(self, host: dict[str, Any]) -> Trace:
        host_id = host["host_id"]
        facts = {**host, **history.counts_of_host(self.catalog, host_id)}
        events = history.events_of_host(self.catalog, host_id)
        state = next(
            each
            for each in fleet.stations(self.catalog, self.silent_h)
            if each["host_id"] == host_id
        )
        letters = letters_of(self.broker, lambda letter: letter.concerns(str(host_id)))
        now = f"{state['state']} since {_utc(state['since'])}"
        if state["reason"]:
            now += f": {state['reason']}"
        if state["state"] in ("asked", "waiting"):
            now += f" ({self.broker.waiting('backup')})"
        return Trace(
            "host",
            str(host_id),
            facts,
            _sorted([*map(_event, events), *map(_death, letters)]),
            now,
            f"{state['next']}{_mend(letters)}",
            letters,
        )

    # Files

    def _file(self, file: dict[str, Any]) -> Trace:
        identity = file["file_id"]
        spectra = history.spectra_of_file(self.catalog, identity)
        letters = letters_of(
            self.broker, lambda letter: _body(letter.decoded()).get("file_id") == identity
        )
        steps = [Step(file["mtime_ns"] / 1e9, "measured", "the station wrote it for the last time")]
        if file["discovered"]:
            steps.append(Step(file["discovered"], "discovered", "found on the station"))
        if file["fetched"]:
            took = f" in {file['fetch_s']:.1f} s" if file["fetch_s"] else ""
            text = f"{file['size']} bytes brought home{took}, verified by {file['verified']}"
            steps.append(Step(file["fetched"], "fetched", text))
            around = history.backups_around(self.catalog, file["host_id"], file["fetched"])
            steps += [_event(event) for event in around]
        if file["processed"]:
            steps.append(Step(file["processed"], file["stage"], _settled(file)))
        elif file["stage"] == "failed":
            steps.append(Step(file["recorded"], "failed", _settled(file)))
        steps += map(_death, letters)
        now, following = self._file_now(file, spectra, letters)
        facts = {**file, "spectra_catalogued": len(spectra)}
        return Trace("file", identity, facts, _sorted(steps), now, following, letters)

    def _file_now(
        self, file: dict[str, Any], spectra: Sequence[object], letters: Sequence[dict[str, Any]]
    ) -> tuple[str, str]:
        place = self.daemon.repository / file["path"]
        there = bool(file["path"]) and place.exists()
        lies = f"{place} is there" if there else f"{place} is NOT there"
        match file["stage"]:
            case "processed":
                rows = f"{counted(len(spectra), 'row')} of spectra"
                return f"filed and catalogued: {lies}, {rows}", "nothing: it is settled"
            case "trashed":
                return f"in the trash: {lies}", "it is removed when its retention time is over"
            case "fetched" if letters:
                return f"fetched ({lies}), and its message is a dead letter", _mend(letters)[2:]
            case "fetched":
                waits = f"its message waits or is at work ({self.broker.waiting('process')})"
                return f"fetched: {lies}; {waits}", "process reads and files it"
            case "failed":
                return "still on the station", "the next backup tries again what its index names"
        return "found on the station", "a backup fetches it"

    # Messages

    def _message(self, message_id: str) -> Trace | None:
        events = history.events_of_message(self.catalog, message_id)
        files = history.files_of_message(self.catalog, message_id)
        letters = letters_of(
            self.broker,
            lambda letter: message_id in (letter.message_id, letter.correlation_id),
        )
        holder = self.broker.at_work(message_id)
        if not (events or files or letters or holder):
            return None
        own = [letter for letter in letters if letter["message_id"] == message_id]
        steps = [*map(_event, events), *map(_death, letters)]
        for file in files:
            at = file["processed"] or file["fetched"] or file["recorded"]
            steps.append(Step(at, file["stage"], f"{file['remote_path']}: {_settled(file)}"))
        if own:
            first = own[0].get("first_failure")
            if first:
                steps.append(Step(float(first), "first failure", "the first attempt that failed"))
        now, following = self._message_now(events, files, own, holder)
        hosts = sorted({each["host_id"] for each in [*events, *files]})
        facts = {"host_ids": hosts, "file_ids": [file["file_id"] for file in files]}
        return Trace("message", message_id, facts, _sorted(steps), now, following, letters)

    def _message_now(
        self,
        events: Sequence[dict[str, Any]],
        files: Sequence[dict[str, Any]],
        letters: Sequence[dict[str, Any]],
        holder: str,
    ) -> tuple[str, str]:
        if holder:
            return f"at work in {holder}", "it is settled, or tried again"
        if letters:
            service, code = letters[0]["service"], letters[0]["code"]
            return f"a dead letter of {service} ({code})", _mend(letters)[2:]
        last = events[-1]["event"] if events else ""
        if last == "backup_waiting":
            text = f"in a pause before another attempt ({self.broker.waiting('backup')})"
            return text, "it is tried again when its pause is over"
        if last == "backup_started" and events[-1]["duration_s"] == 0:
            text = f"begun and not ended: it comes again ({self.broker.waiting('backup')})"
            return text, "the broker delivers it again"
        if last == "backup_failed":
            text = f"failed at least once, and no dead letter ({self.broker.waiting('backup')})"
            return text, "another attempt, unless it was dropped or replayed"
        settled = files and all(file["stage"] in SETTLED for file in files)
        return "settled and acknowledged", "nothing" if settled or not files else "see its files"


def _event(event: dict[str, Any]) -> Step:
    text = event["text"]
    if event["outcome"] == "error":
        text = f"{event['code']}: {text}"
    if event["files"]:
        text += f" ({event['bytes']} bytes in {event['duration_s']:.1f} s)"
    if event["message_id"]:
        text += f" [message {event['message_id']}]"
    return Step(event["at"], event["event"].replace("_", " "), text.strip())


def _death(letter: dict[str, Any]) -> Step:
    at = time.time() - letter["age_s"] if letter["age_s"] is not None else 0.0
    return Step(at, "dead letter", f"{letter['service']}: {letter['code']}: {letter['error']}")


def _settled(file: dict[str, Any]) -> str:
    if file["error_code"] and file["stage"] != "processed":
        return f"{file['error_code']}: {file['error_text']}"
    if file["stage"] == "processed":
        issues = f", with issues: {file['error_code']}" if file["error_code"] else ""
        spectra = f"{file['spectra']} spectra" if file["spectra"] != 1 else "1 spectrum"
        return f"{spectra} of {file['format']} in {file['process_s']:.1f} s{issues}"
    return f"{file['size']} bytes, {file['stage']}"


def _mend(letters: Sequence[dict[str, Any]]) -> str:
    """What to do about dead letters; empty without any."""
    if not letters:
        return ""
    return f"; mend the cause, then: uploaderctl dead replay --id {letters[0]['message_id']}"


def _body(decoded: object) -> dict[str, Any]:
    return decoded if isinstance(decoded, dict) else {}


def _sorted(steps: Sequence[Step]) -> list[Step]:
    return sorted(dict.fromkeys(steps), key=lambda step: step.at)


def _utc(at: float) -> str:
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    return f"{text} ({duration(time.time() - at)} ago)"
