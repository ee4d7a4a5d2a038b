from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from uploaderd.broker import retry, topology
from uploaderd.broker.job import Job
from uploaderd.broker.quarantine import FlightNotes
from uploaderd.broker.retry import Received
from uploaderd.config.settings import BrokerSettings, QueueSettings
from uploaderd.errors import CatalogError, ConfigError, MessageError, RemoteFileError

BROKER = BrokerSettings()
QUEUE = QueueSettings("q", ("a.b",), retry_limit=3, retry_delays_s=(1.0, 2.5))


def received(**headers: object) -> Received:
    return Received(b"{}", "m", headers={f"x-uploaderd-{k}": v for k, v in headers.items()})


def test_the_steps_of_the_delay_grow_and_the_last_one_repeats() -> None:
    keys = [
        retry.after(CatalogError("Away."), received(attempt=n), BROKER, QUEUE).routing_key
        for n in (1, 2, 3, 100)
    ]
    assert keys == ["q.retry.1s", "q.retry.2.5s", "q.retry.2.5s", "q.retry.2.5s"]


def test_not_now_does_not_count_towards_the_limit() -> None:
    again = retry.after(CatalogError("Away."), received(attempt=50, failures=2), BROKER, QUEUE)
    assert again.exchange == ""
    assert again.headers[retry.FAILURES] == 2
    assert again.headers[retry.ATTEMPT] == 51
    assert again.expiration_ms is not None
    assert 2000 <= again.expiration_ms <= 2500


@pytest.mark.parametrize(
    ("error", "failures", "dead"),
    [
        (RemoteFileError("Gone."), 1, False),
        (RemoteFileError("Gone."), 2, True),
        (ValueError("odd"), 2, True),
        (MessageError("Nonsense."), 0, True),
    ],
)
def test_a_dead_letter_is_what_failed_too_often_or_never_can_succeed(
    error: Exception, failures: int, dead: bool
) -> None:
    made = retry.after(error, received(failures=failures), BROKER, QUEUE)
    assert (made.exchange == topology.dead_exchange(BROKER)) is dead


def test_headers_that_are_nonsense_count_as_none() -> None:
    for odd in ("3", -1, 1 << 40, True, None):
        made = retry.after(ConfigError("x"), received(attempt=odd, failures=odd), BROKER, QUEUE)
        assert made.headers[retry.ATTEMPT] == 1
        assert made.headers[retry.FAILURES] == 0


def test_a_replayed_message_has_no_history() -> None:
    headers = {"x-uploaderd-attempt": 3, "x-death": [], "x-delivery-count": 2, "traceparent": "t"}
    assert retry.fresh_headers(headers) == {"traceparent": "t"}


def test_the_ids_of_follow_ups_repeat_with_the_message() -> None:
    def ids(message_id: str) -> list[str]:
        job = Job(body={}, message_id=message_id)
        job.publish("publish", {})
        job.publish("publish", {})
        return [each.message_id for each in job.outgoing]

    assert ids("a") == ids("a")
    assert len({*ids("a"), *ids("b")}) == 4


def test_our_own_messages_are_checked_as_well() -> None:
    with pytest.raises(MessageError):
        Job(body={}).publish("backup", {"host_id": 1})


def test_delays_are_rounded_up_to_a_step() -> None:
    assert [topology.delay_step(s) for s in (0.1, 1, 2, 60, 61, 1e9)] == [1, 1, 5, 60, 300, 21600]


def test_the_dead_are_told_from_the_living(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path;"
        "from uploaderd.broker.quarantine import FlightNotes;"
        "notes = FlightNotes(Path(sys.argv[1]), 'q', 2); notes.note(1, 'bad'); os._exit(9)"
    )
    living = FlightNotes(tmp_path, "q", 2)
    living.note(0, "good")
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    living.gather()
    assert living.deaths("bad") == 2
    assert living.deaths("good") == 0
    living.forget("bad")
    assert living.deaths("bad") == 0
    living.close()
    assert not list(tmp_path.glob("*.flight"))
