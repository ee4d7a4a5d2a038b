"""Where messages are now, as far as it can be known without taking any from its queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from uploaderd.broker import desk, quarantine
from uploaderd.broker.depths import all_depths
from uploaderd.config.settings import DaemonSettings, ServiceSettings
from uploaderd.ctl.standing import process_state
from uploaderd.errors import BrokerError
from uploaderd.observe.states import counted


class Broker:
    """The queues of all services, looked at once."""

    def __init__(self, daemon: DaemonSettings, services: Sequence[ServiceSettings]) -> None:
        self._daemon = daemon
        self._services = [each for each in services if each.queue.bindings]
        told = all_depths([(each.broker, each.queue) for each in self._services])
        self.depths = {each.name: depths for each, depths in zip(self._services, told, strict=True)}

    def letters(self, wanted: Callable[[desk.Letter], bool]) -> Iterator[dict[str, Any]]:
        """The dead letters that are meant, as an operator sees them; they stay where they are."""
        for service in self._services:
            if isinstance(self.depths[service.name], str):
                continue
            with desk.channel(service.broker) as channel:
                for letter in desk.Desk(channel, service.queue).letters(desk.Filter()):
                    if wanted(letter):
                        yield {**letter.shown(), "correlation_id": letter.correlation_id}

    def at_work(self, message_id: str) -> str:
        """`process[4711]`, the instance on this machine that has it in hand; empty: none."""
        for service in self._services:
            pid = quarantine.who_has(self._daemon.run_dir, service.queue.name, message_id)
            if pid is not None and process_state(pid) != "gone":
                return f"{service.name} (process {pid})"
        return ""

    def waiting(self, service: str) -> str:
        """How many messages wait for a service, in words."""
        told = [
            depths
            for each, depths in ((each, self.depths[each.name]) for each in self._services)
            if each.service == service
        ]
        known = [depths for depths in told if not isinstance(depths, str)]
        if len(known) < len(told) or not told:
            return "the broker cannot be asked"
        ready = sum(depths["ready"] for depths in known)
        retrying = sum(depths["retrying"] for depths in known)
        return f"{counted(ready, 'message')} ready and {retrying} retrying there"

    def error(self) -> str:
        """Why the broker could not be asked; empty: it could."""
        return next((each for each in self.depths.values() if isinstance(each, str)), "")


def letters_of(broker: Broker, wanted: Callable[[desk.Letter], bool]) -> list[dict[str, Any]]:
    """As `Broker.letters`; none if the broker breaks off."""
    try:
        return list(broker.letters(wanted))
    except BrokerError:
        return []
