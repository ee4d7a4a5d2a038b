"""Coordinates to country, state and county, offline, from a table; honest when unknown."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

UNKNOWN = "unknown"
EARTH_KM = 6371.0


@dataclass(frozen=True)
class Place:
    """Names of where a position is; `unknown` if the table does not tell."""

    country: str = UNKNOWN
    state: str = UNKNOWN
    county: str = UNKNOWN

    @staticmethod
    def agreed(first: Place, rivals: Sequence[Place]) -> Place:
        """As much of the first as all rivals say, too: a border is not guessed."""
        if len({place.country for place in rivals}) > 1:
            return Place()
        if len({place.state for place in rivals}) > 1:
            return Place(first.country)
        if len({place.county for place in rivals}) > 1:
            return Place(first.country, first.state)
        return first


@dataclass(frozen=True)
class Seat:
    """A county's seat, and how far the county reaches from there."""

    place: Place
    latitude: float
    longitude: float
    radius_km: float


class Gazetteer:
    """Circles around the seats of counties; a position is in the nearest one that holds it."""

    source = "gazetteer"

    def __init__(self, seats: tuple[Seat, ...] = ()) -> None:
        self._cells: dict[int, list[Seat]] = defaultdict(list)
        for seat in seats:
            reach = math.degrees(seat.radius_km / EARTH_KM)
            for row in range(
                math.floor(seat.latitude - reach), math.floor(seat.latitude + reach) + 1
            ):
                self._cells[row].append(seat)

    def resolve(self, latitude: float, longitude: float) -> Place:
        """The place of a position (degrees of WGS 84); all `unknown` if no circle holds it.

        Two circles of different counties that both hold it, neither clearly nearer (by a fifth),
        leave the county unknown; likewise the state: a border is not guessed.
        """
        if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
            return Place()
        near = sorted(
            (
                (distance, seat.place)
                for seat in self._cells.get(math.floor(latitude), ())
                if (distance := _km(seat, latitude, longitude)) <= seat.radius_km
            ),
            key=lambda pair: pair[0],
        )
        if not near:
            return Place()
        rivals = [place for distance, place in near if distance <= near[0][0] * 1.2]
        return Place.agreed(rivals[0], rivals)


def _km(seat: Seat, latitude: float, longitude: float) -> float:
    """Great-circle distance by the haversine formula."""
    here, there = math.radians(latitude), math.radians(seat.latitude)
    across = math.radians(longitude - seat.longitude)
    half = (
        math.sin((there - here) / 2) ** 2
        + math.cos(here) * math.cos(there) * math.sin(across / 2) ** 2
    )
    return 2 * EARTH_KM * math.asin(min(1.0, math.sqrt(half)))
