"""Coordinates to site, county and state."""

from uploaderd.geo.places import Gazetteer, Place, load

__all__ = ["Gazetteer", "Place", "load", "resolve"]


def resolve(latitude: float, longitude: float, gazetteer: Gazetteer | None = None) -> Place:
    """The place of a position (degrees of WGS 84): all `unknown` without a table of places."""
    return (gazetteer or Gazetteer()).resolve(latitude, longitude)
