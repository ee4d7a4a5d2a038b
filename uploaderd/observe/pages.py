"""`/metrics`, `/healthz` and `/status.json` from the last status shown, and `/stations.json`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from uploaderd.config.settings import HttpSettings
from uploaderd.observe.metrics import render
from uploaderd.observe.status import DOWN, Status, as_json

_PAGES = "there is /metrics, /healthz, /status.json, /stations.json\n"


class Pages:
    """The server, in threads of its own; `close` it."""

    def __init__(self, settings: HttpSettings, stations: Callable[[], dict[str, Any]]) -> None:
        """Listens at once; `stations` gives the page of that name. Raises OSError."""
        self.stations = stations
        self._server = ThreadingHTTPServer((settings.host, settings.port), _handler(self))
        self.port = int(self._server.server_address[1])
        self.status: dict[str, Any] = {}
        self.samples: Mapping[str, float] = {}
        self._thread = threading.Thread(target=self._server.serve_forever, name="pages")
        self._thread.start()

    def show(self, status: Status) -> None:
        """From now on the pages tell of this status."""
        self.samples = status.samples
        self.status = as_json(status)

    def close(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(pages: Pages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers GET for four paths."""

        timeout = 10

        def do_GET(self) -> None:
            """Sends a page."""
            status = pages.status
            down = not status or status["health"] == DOWN
            match self.path:
                case "/metrics" if status:
                    self._send(200, "text/plain; version=0.0.4", render(pages.samples))
                case "/status.json" if status:
                    self._send(200, "application/json", json.dumps(status) + "\n")
                case "/stations.json":
                    self._send(200, "application/json", json.dumps(pages.stations()) + "\n")
                case "/healthz":
                    self._send(503 if down else 200, "text/plain", "down\n" if down else "up\n")
                case _:
                    self._send(404, "text/plain", _PAGES)

        def _send(self, code: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(code)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged: Prometheus asks every few seconds."""

    return Handler
