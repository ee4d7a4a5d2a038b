"""A problem that lasts is told once, and once more when it is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from uploaderd.config.settings import StatusSettings
from uploaderd.observe.status import Status
from uploaderd.supervisor.troubles import Troubles

LIMITS = StatusSettings(trouble_s=30)
GOOD = Status("1", 1, 0.0, 0.0, False, "", None, (), (), (), {})


def service(state: str, dead: int = 0) -> dict[str, Any]:
    queue = {"dead": dead}
    return {"service": "backup", "state": state, "reason": "r", "next": "n", "queue": queue}


def test_what_lasts_is_told_once_and_once_when_it_is_over() -> None:
    told: list[tuple[str, ...]] = []
    troubles = Troubles(lambda *words: told.append(words))

    def at(seconds: float, **changes: Any) -> int:
        troubles.look(replace(GOOD, time=seconds, **changes), LIMITS)
        return len(told)

    bad = (service("disconnected"),)
    assert at(0, services=bad) == 0
    assert at(29, services=bad) == 0
    assert at(30, services=bad) == 1
    assert at(3000, services=bad) == 1
    assert told[0][:3] == ("error", "service_state", "backup does not work well")
    assert at(3001, services=(service("running"),)) == 2
    assert told[1][:3] == ("info", "service_state", "backup does not work well")
    assert at(3002, services=bad) == 2
    assert at(3010, services=(service("idle"),)) == 2
    assert at(3020, services=bad) == at(3049, services=bad) == 2


def test_dead_letters_full_disks_and_refused_reloads_are_problems() -> None:
    told: list[tuple[str, ...]] = []
    troubles = Troubles(lambda *words: told.append(words))
    full = {"folder": "/r", "free_bytes": 1, "size_bytes": 1000}
    bad = replace(
        GOOD, services=(service("running", dead=2),), disks=(full,), reload_error="config.json:1"
    )
    for seconds in (0.0, 60.0):
        troubles.look(replace(bad, time=seconds), LIMITS)
    assert [words[:2] for words in told] == [
        ("error", "dead_letters"),
        ("critical", "disk"),
        ("error", "reload"),
    ]
    assert "2 dead letters: uploaderctl dead list --service backup" in told[0][3]
    troubles.look(replace(GOOD, time=61.0), LIMITS)
    assert sorted(words[1] for words in told[3:]) == ["dead_letters", "disk", "reload"]
    assert {words[0] for words in told[3:]} == {"info"}
