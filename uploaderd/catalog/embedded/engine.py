"""The engine itself: chDB's connections, each a session of its own on one shared server."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from uploaderd import crash_points
from uploaderd.catalog.embedded import blocks, statements

_CODE = re.compile(r"Code: (\d+)\. (.*)", re.DOTALL)
_NAME = re.compile(r"\(([A-Z0-9_]+)\)\s*$")
UNKNOWN_SETTING = 115
CANCELLED = 394


class EngineError(Exception):
    """The engine refuses; `code` is ClickHouse's error code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @property
    def name(self) -> str:
        """The code's name, such as `UNKNOWN_TABLE`."""
        match = _NAME.search(str(self))
        return match[1] if match else "UNKNOWN_EXCEPTION"


def _translated(error: Exception) -> EngineError:
    match = _CODE.search(str(error))
    return EngineError(int(match[1]), match[2]) if match else EngineError(1002, str(error))


def _types(data: bytes) -> list[str]:
    return [kind for _, kind in blocks.columns(data)]


class Piece(NamedTuple):
    """Blocks of an answer."""

    data: bytes
    rows: int
    read_rows: int
    """Rows that the engine read for it, as `read_bytes`, since the piece before."""
    read_bytes: int


class DataFolder:
    """The data folder, held by a lock so that two servers never open it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] = (path / "embedded.lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise EngineError(
                76, f"The folder {path} is in use by another embedded server (process {holder})."
            ) from error
        # What a killed server left of inserts that were never acknowledged.
        shutil.rmtree(path / "spool", ignore_errors=True)
        (path / "spool").mkdir()
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    def close(self) -> None:
        """Lets the folder go."""
        self._lock.close()


class Session:
    """One session of the engine: its database, settings and temporary tables are its own.

    The engine's own configuration, for those who need one, is `config.xml` in the data folder.
    One thread uses a session at a time; `cancel` may come from any. Every method raises
    `EngineError`.
    """

    def __init__(self, path: Path, number: int) -> None:
        # chDB takes half a second to import, and only the server needs it.
        import chdb

        self._mark = f"embedded-{number}"
        self._spool = path / "spool"
        self._applied: dict[str, str] = {}
        config = path / "config.xml"
        options = f"?config-file={config}" if config.exists() else ""
        try:
            self._connection: Any = chdb.connect(f"{path / 'store'}{options}")
        except (RuntimeError, ValueError) as error:
            raise _translated(error) from error

    def close(self) -> None:
        """Ends the session; the last one closes the engine."""
        self._connection.close()

    def on_progress(self, call: Callable[[dict[str, int]], None]) -> None:
        """`call` gets the engine's running totals, from a thread of the engine."""
        self._connection.set_progress_callback(call)

    @property
    def mark(self) -> str:
        """What the engine's list of queries knows this session's queries by."""
        return self._applied.get("log_comment", self._mark)

    def apply(self, settings: dict[str, str], important: frozenset[str] = frozenset()) -> None:
        """Sets a query's settings and takes back those of the query before."""
        wanted = {"log_comment": self._mark, **settings}
        for name in self._applied.keys() - wanted.keys():
            self.run(f"SET {statements.identifier(name)} = DEFAULT")
            del self._applied[name]
        for name, value in wanted.items():
            if self._applied.get(name) == value:
                continue
            try:
                self.run(f"SET {statements.identifier(name)} = {statements.quoted(value)}")
            except EngineError as error:
                # As the real server does: a setting of a newer client is passed over.
                if error.code == UNKNOWN_SETTING and name not in important:
                    continue
                raise
            self._applied[name] = value

    def run(self, sql: str) -> bytes:
        """Runs any statement; gives its blocks in Native format, one behind the other."""
        try:
            return bytes(self._connection.query(sql, "Native").bytes())
        except (RuntimeError, ValueError) as error:
            raise _translated(error) from error

    def stream(self, sql: str) -> Iterator[Piece]:
        """Native blocks of a SELECT, while they come about.

        The engine leaves the zone out of a column's type DateTime('zone'), as for clients of old.
        If a column may have one, the query is asked for its types and run again.
        """
        pieces = self._pieces(sql)
        first = next(pieces, None)
        if first is None:
            return
        if b"\x08DateTime" not in first.data or "DateTime" not in _types(first.data):
            yield first
            yield from pieces
            return
        pieces.close()
        kinds = [kind for _, kind, _ in self.describe(f"({sql.strip().rstrip(';')})")]
        for piece in self._pieces(sql):
            yield piece._replace(data=blocks.retyped(piece.data, kinds))

    def _pieces(self, sql: str) -> Generator[Piece, None, None]:
        try:
            result = self._connection.send_query(sql, "Native")
        except (RuntimeError, ValueError) as error:
            raise _translated(error) from error
        try:
            for chunk in result:
                yield Piece(
                    chunk.bytes(),
                    chunk.rows_read(),
                    chunk.storage_rows_read(),
                    chunk.storage_bytes_read(),
                )
        except (RuntimeError, ValueError) as error:
            raise _translated(error) from error
        finally:
            result.close()

    def time_zone(self) -> str:
        """The engine's time zone, which clients are told when they connect."""
        return (
            bytes(self._connection.query("SELECT serverTimezone()", "TSVRaw").bytes())
            .decode()
            .strip()
        )

    def describe(self, what: str) -> list[tuple[str, str, str]]:
        """Name, type and kind of default (`""` for none) of the columns of a table or query."""
        try:
            answer = self._connection.query(f"DESCRIBE {what}", "JSONCompactEachRow")
        except (RuntimeError, ValueError) as error:
            raise _translated(error) from error
        lines = answer.bytes().decode().splitlines()
        return [(name, kind, default) for name, kind, default, *_ in map(json.loads, lines)]

    def insert_columns(self, waiting: statements.Insert) -> list[tuple[str, str]]:
        """Name and type of the columns whose rows an INSERT waits for."""
        if waiting.expression:
            described = self.describe(f"(SELECT {waiting.expression} FROM {waiting.target})")
            return [(name, kind) for name, kind, _ in described]
        target = waiting.target.removeprefix("FUNCTION").strip()
        if waiting.structure:
            described = self.describe(f"TABLE null({statements.quoted(waiting.structure)})")
        else:
            described = self.describe(f"TABLE {target}")
        if waiting.columns is None or waiting.structure:
            computed = {"MATERIALIZED", "ALIAS", "EPHEMERAL"}
            return [(name, kind) for name, kind, default in described if default not in computed]
        types = {name: kind for name, kind, _ in described}
        unknown = [name for name in waiting.columns if name not in types]
        if unknown:
            raise EngineError(16, f"No such column {unknown[0]}. (NO_SUCH_COLUMN_IN_TABLE)")
        return [(name, types[name]) for name in waiting.columns]

    def insert_through(self, waiting: statements.Insert, spool: Path) -> None:
        """Runs the INSERT that reads the rows in `spool` by its `input` function."""
        place, structure = map(statements.quoted, (str(spool), waiting.structure))
        self.run(f"{waiting.head}file({place}, 'Native', {structure}){waiting.rest}")

    def insert(self, head: str, names: Sequence[str], spool: Path) -> None:
        """Runs the INSERT whose rows lie in `spool` as Native blocks.

        chDB has an INSERT that takes blocks one by one, but it loses errors that come up while
        the rows are written: a violated constraint looks like success.
        """
        listed = ", ".join(map(statements.identifier, names))
        crash_points.reached("block-inserted:before")
        self.run(f"{head} SELECT {listed} FROM file({statements.quoted(str(spool))}, 'Native')")
        crash_points.reached("block-inserted:after")

    def spool(self) -> IO[bytes]:
        """An empty file for the rows of an INSERT; it vanishes when closed."""
        return tempfile.NamedTemporaryFile(dir=self._spool, suffix=".native", buffering=1 << 16)
