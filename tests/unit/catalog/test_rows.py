from __future__ import annotations

import math
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from uploaderd.catalog import sqlfiles
from uploaderd.catalog.embedded import blocks, statements
from uploaderd.catalog.embedded.wire import Source
from uploaderd.catalog.ids import file_id, spectrum_id
from uploaderd.catalog.rows import EPOCH
from uploaderd.catalog.spectra import NO_LEVEL, rows_of, tenths
from uploaderd.formats.model import Position, Recording, Spectrum


def test_a_flow_becomes_a_row_and_what_is_unknown_stays_unknown() -> None:
    known = Spectrum(
        10, "FM", 88_000_000, 108_000_000, 1024, 3, 1_000_000_000, 5_000_000_000, unit="dBm"
    )
    unknown = Spectrum(None, None, None, None, None, None, None, None)
    gps = Position(-12.5, -38.5, None, 2, None, "records")
    recording = Recording("crfs_bin", None, "rfeye1", None, (known, unknown), gps, ())
    first, second = rows_of(recording, "f" * 32, "a" * 64, host_id=7, host_uid="")
    assert first.station == "rfeye1"
    assert first.time_start == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert first.revisit_s == 2.0
    assert (first.latitude, first.longitude) == (-12.5, -38.5)
    assert math.isnan(first.altitude)
    assert second.time_start == EPOCH
    assert first.spectrum_id == spectrum_id("A" * 64, 0) != second.spectrum_id


def test_levels_are_kept_in_tenths() -> None:
    assert tenths([-100.04, math.nan, 1e9]) == [-1000, NO_LEVEL, 32767]


@given(st.binary(min_size=1, max_size=50).filter(lambda path: b"\0" not in path))
def test_a_path_in_bytes_and_its_text_have_one_id(path: bytes) -> None:
    text = path.decode("utf-8", "surrogateescape")
    assert file_id(1, path, 2, 3) == file_id(1, text, 2, 3) != file_id(2, path, 2, 3)


def test_statements_are_cut_outside_of_strings_and_comments() -> None:
    text = "SELECT ';' ; -- a; b\nSELECT 'it''s; \\' ;' ;\n"
    assert sqlfiles.statements(text) == ["SELECT ';'", "SELECT 'it''s; \\' ;'"]


def test_an_insert_that_waits_for_rows_is_told_from_others() -> None:
    waiting = statements.insert("/* c */ INSERT INTO `d`.`t` (`a b`, n.c) VALUES ;")
    assert waiting is not None
    assert (waiting.target, waiting.columns) == ("`d`.`t`", ("a b", "n.c"))
    assert statements.insert("INSERT INTO t VALUES (1)") is None
    assert statements.insert("INSERT INTO t SELECT 1") is None


def test_nested_types_are_taken_apart() -> None:
    assert blocks.parse("Tuple(a Enum8('x, (' = 1), b Map(String, UInt8))") == (
        "Tuple",
        ("a Enum8('x, (' = 1)", "b Map(String, UInt8)"),
    )


def test_a_block_with_long_strings_is_walked_to_its_end() -> None:
    source = Source()
    block = b"\x01\x02\x01s\x06String" + b"\x80\x02" + b"x" * 256 + b"\x01y"
    source.data += block + b"rest"
    assert blocks.skip_block(source) == (1, 2)
    assert source.position == len(block)
