"""Coordinates to site, county and state."""
