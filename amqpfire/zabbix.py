"""`uploaderd-zabbix-request`: Zabbix's external check of a station.

    uploaderd-zabbix-request host_uid=rfeye002218 host_add=10.0.0.7 query_tag=catalog timeout=3

Zabbix takes standard output as the value, merges standard error into it, ignores the exit status
and kills a check that is late. So exactly one JSON object is printed, whatever happens, within the
timeout, and `status_query` in it is 0 if there is no answer.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amqpfire import lean, requests
from uploaderd import messages
from uploaderd.errors import MessageError, UploaderError

KIND = "host-request"
ROUTING_KEY = messages.routing_key(KIND)
DEFAULT_TIMEOUT_S, LONGEST_S = 3.0, 30.0
MARGIN_S = 0.3
"""Kept of the timeout for starting Python and for printing."""
CONFIG_VARIABLE = "UPLOADERD_ZABBIX_CONFIG"
DEFAULT_CONFIG = Path("/etc/uploaderd/zabbix.json")
_UNDEFINED = re.compile(r"\{\$[A-Z0-9_.]+(:[^}]*)?\}\Z")


def main(argv: Sequence[str] | None = None) -> int:
    """Asks, and prints the one object; the status is always 0, for Zabbix ignores it.

    The question is asked in a thread of its own: even a name server that does not answer cannot
    hold up the print.
    """
    begun = time.monotonic()
    pairs = list(sys.argv[1:] if argv is None else argv)
    given = dict(pair.partition("=")[::2] for pair in pairs)
    wait_s, complaint = timeout(given.get("timeout", ""))
    found: list[dict[str, Any]] = []
    late = requests.told(None, 0, f"There was no answer within {wait_s:g} s.", None)
    if complaint:
        found.append(requests.told(None, 0, complaint, None))
    else:
        left = max(0.1, wait_s - MARGIN_S)
        thread = threading.Thread(target=_keep, args=(found, pairs, left), daemon=True)
        thread.start()
        thread.join(max(0.1, left - (time.monotonic() - begun)))
    print(json.dumps(found[0] if found else late, ensure_ascii=True), flush=True)
    return 0


def program() -> None:
    """The command: as `main`, but silent on standard error, and without waiting for the thread."""
    lean.hide_arguments()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    main()
    os._exit(0)


def timeout(text: str) -> tuple[float, str]:
    """Seconds from the argument, and a complaint if it is none; Zabbix allows at most 30."""
    if not text:
        return DEFAULT_TIMEOUT_S, ""
    try:
        seconds = float(text)
    except ValueError:
        return DEFAULT_TIMEOUT_S, "The timeout is not a number of seconds."
    if not 0 < seconds <= LONGEST_S:
        return DEFAULT_TIMEOUT_S, f"The timeout is not between 0 and {LONGEST_S:g} s."
    return seconds, ""


def body_of(pairs: Sequence[str]) -> dict[str, Any]:
    """The request in the arguments; empty ones are left out, as of a macro without a value.

    Raises MessageError for what the request's schema does not allow, and for a macro that Zabbix
    has not expanded.
    """
    kept = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if key == "config" or (equals and not value):
            continue
        if _UNDEFINED.match(value):
            raise MessageError(f"The macro {value} is defined neither on the host nor above it.")
        kept.append(pair)
    body = requests.from_parameters(KIND, kept)
    messages.validate(KIND, body)
    return body


def answer(pairs: Sequence[str], wait_s: float) -> dict[str, Any]:
    """The one object; never raises an expected error."""
    body: dict[str, Any] | None = None
    try:
        body = body_of(pairs)
        # What is not valid should not pay for loading the AMQP library.
        lean.import_pika()
        from amqpfire import send, settings

        broker = settings.from_file(_config(pairs))
        outcome = next(iter(send.send(broker, ROUTING_KEY, [body], wait_s)))
    except UploaderError as error:
        return requests.told(body, 0, str(error), None)
    return requests.told(body, int(outcome.status == send.OK), outcome.text, outcome.answer)


def _keep(found: list[dict[str, Any]], pairs: Sequence[str], wait_s: float) -> None:
    try:
        found.append(answer(pairs, wait_s))
    except Exception as error:  # noqa: BLE001 - Zabbix must get an object, and has no other place
        found.append(requests.told(None, 0, f"The check itself failed: {error!r}.", None))


def _config(pairs: Sequence[str]) -> Path:
    for pair in pairs:
        if pair.startswith("config="):
            return Path(pair.partition("=")[2])
    return Path(os.environ.get(CONFIG_VARIABLE, str(DEFAULT_CONFIG)))


if __name__ == "__main__":
    program()
