"""Positions as GeoParquet 1.1: a column of well-known binary points, and the file's `geo` key."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

GEOMETRY = pa.field(
    "geometry", pa.binary(), metadata={"comment": "Longitude, latitude (WGS 84) as WKB point"}
)
GEO = json.dumps(
    {
        "version": "1.1.0",
        "primary_column": "geometry",
        # Without `crs`, the reference system is OGC:CRS84: longitude and latitude in WGS 84.
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Point"]}},
    }
)
"""Value of the key `geo` in the file's metadata (GeoParquet 1.1.0, section "File metadata")."""

_POINT = np.dtype([("order", "u1"), ("type", "<u4"), ("x", "<f8"), ("y", "<f8")])


def points(longitude: pa.Array, latitude: pa.Array) -> pa.Array:
    """Points in little-endian WKB; null where a coordinate is."""
    made = np.zeros(len(longitude), _POINT)
    made["order"] = 1
    made["type"] = 1
    made["x"] = pc.fill_null(longitude, 0.0)
    made["y"] = pc.fill_null(latitude, 0.0)
    offsets = np.arange(len(made) + 1, dtype=np.int32) * _POINT.itemsize
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(made.tobytes())]
    known = pc.and_(pc.is_valid(longitude), pc.is_valid(latitude))
    return pc.if_else(known, pa.Array.from_buffers(pa.binary(), len(made), buffers), None)
