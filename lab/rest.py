"""A small REST server that takes rows and keeps receipts, as `exchange.rest_target` asks for."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from lab.certificates import Pair


@dataclass
class RestServer:
    """A context manager; what it was given can be looked at, and it can be told to refuse."""

    token: str = ""
    pair: Pair | None = None
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Of each table, each batch once."""
    receipts: dict[str, bytes] = field(default_factory=dict)
    refusals: list[tuple[int, str | None]] = field(default_factory=list)
    """Statuses, each with its `Retry-After`, that the next calls get instead of an answer."""
    lost_answers: int = 0
    """So many batches are taken whose answer does not come."""
    longest: int = 1 << 30
    """Longer messages are refused (413), in bytes."""
    calls: int = 0

    def __post_init__(self) -> None:
        """Listens, and does not answer before it is entered."""
        self._keys: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        if self.pair is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self.pair.certificate, self.pair.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, name="rest")

    @property
    def url(self) -> str:
        """Where its calls begin."""
        return f"http{'s' if self.pair else ''}://localhost:{self._server.server_address[1]}"

    def __enter__(self) -> RestServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, table: str, key: str, rows: list[dict[str, Any]]) -> None:
        """A batch; one whose key is known changes nothing."""
        if key not in self._keys:
            self._keys.add(key)
            self.rows.setdefault(table, []).extend(rows)


class _Handler(BaseHTTPRequestHandler):
    """Answers for the `RestServer` that a subclass names."""

    owner: RestServer

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""

    def _handle(self) -> None:
        self.owner.calls += 1
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        wanted = f"Bearer {self.owner.token}"
        if self.owner.token and self.headers.get("Authorization") != wanted:
            self._answer(401)
        elif len(body) > self.owner.longest:
            self._answer(413)
        elif self.owner.refusals:
            status, after = self.owner.refusals.pop(0)
            self._answer(status, after=after)
        else:
            self._serve(self.path.strip("/").split("/"), body)

    def _serve(self, path: list[str], body: bytes) -> None:
        match (self.command, path):
            case ("POST", ["rows", table]):
                self.owner.take(table, self.headers["Idempotency-Key"], json.loads(body)["rows"])
                if self.owner.lost_answers:
                    self.owner.lost_answers -= 1
                    self.close_connection = True
                    return
                self._answer(204)
            case ("PUT", ["receipts", sender]):
                self.owner.receipts[sender] = body
                self._answer(204)
            case ("GET", ["receipts", sender]) if sender in self.owner.receipts:
                self._answer(200, self.owner.receipts[sender])
            case ("DELETE", ["receipts", sender]):
                self.owner.receipts.pop(sender, None)
                self._answer(204)
            case _:
                self._answer(404)

    def _answer(self, status: int, body: bytes = b"", after: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if after is not None:
            self.send_header("Retry-After", after)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _handle


def _handler(server: RestServer) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"owner": server})
