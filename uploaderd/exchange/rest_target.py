"""A target that takes rows as JSON over HTTP, and keeps receipts.

    GET  URL/receipts/SENDER                the last receipt, or 404
    POST URL/rows/TABLE                     {"sender", "sequence", "batch", "rows": [{…}]}
    PUT  URL/receipts/SENDER                what counts as confirmed from now on

Every POST has an `Idempotency-Key` that a repetition has, too. Unknown numbers (NaN) are null, and
times are ISO 8601 in UTC; texts that are no UTF-8 have replacement characters.
"""

from __future__ import annotations

import json
import math
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from uploaderd import clock
from uploaderd.errors import ConfigError, Disposition, UploaderError
from uploaderd.exchange import export
from uploaderd.exchange.export import Manifest
from uploaderd.exchange.receipts import Receipt
from uploaderd.exchange.target import Finding, clock_step
from uploaderd.exchange.watermark import LOAD_ORDER
from uploaderd.secret import Secret

ROWS_A_BATCH = 500
ATTEMPTS = 5
LONGEST_WAIT_S = 30.0
PATIENCE_S = 120.0
"""After so long nothing is tried anew: the message comes again later."""
LARGEST_ANSWER = 16 << 20
_LATER = (408, 409, 425, 429, 500, 502, 503, 504)
"""Also 409, by which a server says that it is still at work on the first call of a key."""
_EPOCH = datetime.fromtimestamp(0, UTC)


class RestError(UploaderError):
    """The REST server cannot be reached, or asks to wait."""

    code = "rest"
    disposition = Disposition.NOT_NOW


class RestRefused(RestError):
    """The REST server refuses what a repetition would not change."""

    code = "rest_refused"
    disposition = Disposition.FAILED


class RestTooLarge(RestRefused):
    """The REST server takes no message as long as that (413)."""


class RestTarget:
    """A server with the three calls above."""

    def __init__(
        self,
        url: str,
        sender: str,
        token: Secret | None = None,
        ca_file: Path | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        """Raises ConfigError if `ca_file` holds no certificates."""
        self._url = url.rstrip("/")
        self._sender = sender
        self._token = token
        self._timeout_s = timeout_s
        # A redirection would carry the token to whoever the server names.
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise ConfigError(f"ca_file: {ca_file} cannot be read: {error}.") from error
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), _NoRedirection()
        )

    def __enter__(self) -> RestTarget:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opener.close()

    def receipt(self) -> Receipt:
        """As the server keeps it."""
        status, text, _ = self._ask("GET", self._receipts)
        if status == 404:
            return Receipt(self._sender)
        try:
            return Receipt.of_json(text)
        except ValueError as error:
            raise RestRefused(f"{self._url} gives no receipt: {error}.") from error

    def highest(self) -> int:
        """The server knows what it has confirmed."""
        return self.receipt().sequence

    def free_bytes(self) -> int | None:
        """Nothing is known of the server's disk."""
        return None

    def deliver(self, path: Path, manifest: Manifest, beat: Callable[[], None]) -> None:
        """Row by row in the order of loading; the receipt is the last word."""
        for table in LOAD_ORDER:
            if table not in manifest.parts:
                continue
            kinds = dict(manifest.parts[table].columns)
            # Should the outbox be lost, the next export of this number has other rows.
            key = f"{manifest.sender}-{manifest.sequence}-{manifest.parts[table].sha256[:16]}"
            about = {"sender": manifest.sender, "sequence": manifest.sequence}
            for number, rows in enumerate(_batches(path, table, kinds)):
                self._post(table, about | {"batch": number, "rows": rows}, f"{key}-{number}")
                beat()
        receipt = Receipt(
            manifest.sender,
            manifest.sequence,
            manifest.kind,
            "loaded",
            "",
            manifest.rows,
            manifest.end,
        )
        self._ask("PUT", self._receipts, json.loads(receipt.to_json()))

    def _post(self, table: str, body: dict[str, Any], key: str) -> None:
        """Brings a batch; one that is too large for the server goes in halves."""
        rows = body["rows"]
        try:
            self._ask("POST", f"rows/{table}", body, key)
        except RestTooLarge:
            if len(rows) == 1:
                raise
            half = len(rows) // 2
            self._post(table, body | {"rows": rows[:half]}, f"{key}.0")
            self._post(table, body | {"rows": rows[half:]}, f"{key}.1")

    def check(self, floor_bytes: int) -> Iterator[Finding]:  # noqa: ARG002 - its disk is its own
        """With a receipt of a sender of its own."""
        probe = f"receipts/{urllib.parse.quote(self._sender + '.check')}"
        step = "connect"
        try:
            _, _, headers = self._ask("GET", probe)
            yield Finding(step, True, f"{self._url} lets us in")
            step = "write"
            receipt = Receipt(f"{self._sender}.check", 1)
            self._ask("PUT", probe, json.loads(receipt.to_json()))
            same = Receipt.of_json(self._ask("GET", probe)[1]) == receipt
            self._ask("DELETE", probe)
            text = "a receipt was written, read back and removed" if same else "a receipt was lost"
            yield Finding(step, same, text)
            step = "clock"
            if "Date" in headers:
                there = parsedate_to_datetime(headers["Date"]).timestamp()
                yield clock_step(there - clock.seconds())
        except (UploaderError, ValueError) as error:
            yield Finding(step, False, str(error))

    @property
    def _receipts(self) -> str:
        return f"receipts/{urllib.parse.quote(self._sender)}"

    def _ask(
        self, method: str, place: str, body: object = None, key: str = ""
    ) -> tuple[int, bytes, Any]:
        """Status, text and headers; waits and asks again while the server says so.

        Raises RestError if it goes on saying so, RestRefused for another refusal than 404.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        if key:
            headers["Idempotency-Key"] = key
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        request = urllib.request.Request(f"{self._url}/{place}", data, headers, method=method)
        said = ""
        until = time.monotonic() + PATIENCE_S
        for attempt in range(ATTEMPTS):
            wait_s = min(LONGEST_WAIT_S, 0.5 * 2**attempt)
            try:
                with self._opener.open(request, timeout=self._timeout_s) as answer:
                    return answer.status, answer.read(LARGEST_ANSWER), answer.headers
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == 404 and method in ("GET", "DELETE"):
                        return 404, b"", error.headers
                    said = f"it answers {error.code} {error.reason}"
                    if error.code not in _LATER:
                        raise _refusal(f"{method} {self._url}/{place}", error) from error
                    wait_s = _asked_wait(error.headers.get("Retry-After"), wait_s)
            except (OSError, HTTPException) as error:
                said = str(getattr(error, "reason", error))
            if wait_s > LONGEST_WAIT_S or time.monotonic() + wait_s > until:
                break
            if attempt + 1 < ATTEMPTS:
                time.sleep(wait_s)
        raise RestError(
            f"{method} {self._url}/{place}: {said}.",
            hint="Check that the server runs, and `url` and `ca_file`.",
        )


def _refusal(call: str, error: urllib.error.HTTPError) -> RestRefused:
    """The error for an answer that a repetition would not change."""
    text = f"{call}: it answers {error.code} {error.reason}."
    match error.code:
        case 401 | 403:
            return RestRefused(text, hint="Put the right token where `password…` says.")
        case 404 | 405:
            return RestRefused(text, hint="Is `url` where the server's calls begin?")
        case 413:
            return RestTooLarge(text, hint="Let the server take longer messages.")
        case _:
            return RestRefused(text)


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object, **_named: object) -> None:
        """None: the redirection is answered as the refusal that it is."""


def _asked_wait(header: str | None, otherwise: float) -> float:
    """What `Retry-After` asks for, in seconds (RFC 9110, section 10.2.3)."""
    if header is None:
        return otherwise
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - clock.seconds())
    except ValueError:
        return otherwise


def _batches(path: Path, table: str, kinds: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
    """The rows of a table as JSON objects, some at a time."""
    for batch in export.batches(path, table):
        for begin in range(0, batch.num_rows, ROWS_A_BATCH):
            piece = batch.slice(begin, ROWS_A_BATCH)
            columns = [_values(piece.column(n), kinds[f.name]) for n, f in enumerate(piece.schema)]
            names = piece.schema.names
            yield [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(sent: pa.Array, kind: str) -> list[Any]:
    """A column's values as JSON has them."""
    values: list[Any] = sent.to_pylist()
    if kind.startswith("Array("):
        numbers = kind.removeprefix("Array(").removesuffix(")").lower()
        return [np.frombuffer(one, numbers).tolist() for one in values]
    if moment := re.match(r"DateTime64\((\d)", kind):
        unit = 10 ** (6 - int(moment[1]))
        return [(_EPOCH + timedelta(microseconds=one * unit)).isoformat() for one in values]
    if kind.startswith("Float"):
        return [one if math.isfinite(one) else None for one in values]
    if pa.types.is_binary(sent.type):
        return [one.rstrip(b"\0").decode("utf-8", "replace") for one in values]
    return values
