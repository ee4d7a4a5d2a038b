"""One client's side of the native protocol, at revision 54429."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from uploaderd.catalog.embedded import blocks, statements
from uploaderd.catalog.embedded.engine import CANCELLED, EngineError, Session
from uploaderd.catalog.embedded.watch import Watch
from uploaderd.catalog.embedded.wire import (
    Disconnected,
    FrameSource,
    ProtocolError,
    SocketSource,
    Source,
    string,
    varint,
    write_frame,
)

REVISION = 54429
VERSION = (26, 9, 2)
BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"
QUERY, DATA, CANCEL, PING = 1, 2, 3, 4
S_HELLO, S_DATA, S_EXCEPTION, S_PROGRESS, S_PONG, S_END, S_PROFILE = 0, 1, 2, 3, 4, 5, 6


class Client:
    """Reads a client's packets and answers them, in one thread, until the client goes."""

    def __init__(
        self, connection: socket.socket, session: Session, watch: Watch, kill: Callable[[str], None]
    ) -> None:
        self._socket = connection
        self._source = SocketSource(connection)
        self._session = session
        self._watch = watch
        self._kill = kill
        self._sending = threading.Lock()
        self._compressed = False
        self._reported = (0, 0, 0)
        self._reporting = False
        session.on_progress(self._progress)

    def serve(self) -> None:
        """Serves until the client disconnects or says something that cannot be understood."""
        try:
            self._hello()
            while True:
                self._source.release()
                packet = self._source.varint()
                if packet == PING:
                    self._send(varint(S_PONG))
                elif packet == QUERY:
                    self._query()
                elif packet != CANCEL:
                    raise ProtocolError(f"packet {packet} is not expected here")
        except Disconnected:
            return
        except ProtocolError as error:
            self._exception(EngineError(101, str(error)))

    def _send(self, *parts: bytes) -> None:
        with self._sending:
            try:
                self._socket.sendall(b"".join(parts))
            except OSError as error:
                raise Disconnected(str(error)) from error

    def _hello(self) -> None:
        source = self._source
        if source.varint() != 0:
            raise ProtocolError("the first packet is no Hello")
        source.string()
        source.varint()
        source.varint()
        revision = source.varint()
        database = source.string()
        source.string()
        source.string()
        if revision < REVISION:
            raise ProtocolError(f"the client's protocol revision {revision} is below {REVISION}")
        try:
            if database:
                self._session.run(f"USE {statements.identifier(database)}")
        except EngineError as error:
            self._exception(error)
            raise Disconnected(str(error)) from error
        major, minor, patch = VERSION
        self._send(
            varint(S_HELLO), string("ClickHouse embedded"), varint(major), varint(minor),
            varint(REVISION), string(self._session.time_zone()), string("embedded"), varint(patch),
        )  # fmt: skip

    def _query(self) -> None:
        source = self._source
        source.string()
        self._client_info()
        settings: dict[str, str] = {}
        important = set()
        while name := source.string():
            if source.varint() & 1:
                important.add(name)
            settings[name] = source.string()
        source.varint()
        self._compressed = bool(source.varint())
        sql = source.string()
        failure: EngineError | None = None
        external: list[str] = []
        try:
            self._session.apply(settings, frozenset(important))
        except EngineError as error:
            failure = error
        try:
            failure = self._external_tables(external, failure)
            if failure is None:
                self._run(sql)
            else:
                self._exception(failure)
        except EngineError as error:
            if error.code == CANCELLED:
                self._send(varint(S_END))
            else:
                self._exception(error)
        finally:
            for table in external:
                self._session.run(f"DROP TEMPORARY TABLE IF EXISTS {table}")

    def _client_info(self) -> None:
        source = self._source
        if source.byte() == 0:
            return
        for _ in range(3):
            source.string()
        source.byte()
        for _ in range(3):
            source.string()
        for _ in range(3):
            source.varint()
        source.string()
        source.varint()

    def _data(self) -> tuple[str, bytes, int]:
        """A data packet behind its number: table name, the block as it came, its rows."""
        name = self._source.string()
        source: Source = FrameSource(self._source) if self._compressed else self._source
        source.release()
        while field := source.varint():
            source.skip(1 if field == 1 else 4)
        start = source.position
        _, rows = blocks.skip_block(source)
        block = bytes(memoryview(source.data)[start : source.position])
        source.release()
        return name, block, rows

    def _next_block(self) -> tuple[str, bytes, int] | None:
        """The client's next block; None after its last one, an empty one without columns."""
        packet = self._source.varint()
        if packet == CANCEL:
            raise EngineError(CANCELLED, "The client cancelled. (QUERY_WAS_CANCELLED)")
        if packet != DATA:
            raise ProtocolError(f"packet {packet} came where data was expected")
        name, block, rows = self._data()
        return None if block[:1] == b"\0" else (name, block, rows)

    def _external_tables(
        self, tables: list[str], failure: EngineError | None
    ) -> EngineError | None:
        """Makes temporary tables of the blocks that precede the query's run."""
        while received := self._next_block():
            if failure is not None:
                continue
            name, block, rows = received
            table = statements.identifier(name)
            try:
                if table not in tables:
                    columns = ", ".join(
                        f"{statements.identifier(c)} {t}" for c, t in blocks.columns(block)
                    )
                    self._session.run(f"CREATE TEMPORARY TABLE {table} ({columns}) ENGINE = Memory")
                    tables.append(table)
                if rows:
                    self._external_rows(table, block)
            except EngineError as error:
                failure = error
        return failure

    def _external_rows(self, table: str, block: bytes) -> None:
        with self._session.spool() as spool:
            spool.write(block)
            spool.flush()
            names = [name for name, _ in blocks.columns(block)]
            self._session.insert(f"INSERT INTO {table}", names, Path(spool.name))

    def _run(self, sql: str) -> None:
        waiting = statements.insert(sql)
        if waiting:
            self._insert(waiting)
            return
        self._source.release()
        if self._source.data[:1] == bytes([CANCEL]):
            # The Cancel came together with the query, so the watch could not see it.
            self._send(varint(S_END))
            return
        self._reported = (0, 0, 0)
        self._reporting = True
        try:
            with self._watch.over(self._socket, lambda: self._kill(self._session.mark)):
                if statements.streams(sql):
                    self._select(statements.without_format(sql))
                else:
                    self._send_blocks(self._session.run(statements.without_format(sql)))
        finally:
            self._reporting = False
        self._send(varint(S_END))

    def _select(self, sql: str) -> None:
        total = count = size = read_rows = read_bytes = 0
        for piece in self._session.stream(sql):
            if not count:
                self._send_block(blocks.header(blocks.columns(piece.data)))
            self._send_blocks(piece.data, piece.rows)
            total, count, size = total + piece.rows, count + 1, size + len(piece.data)
            read_rows, read_bytes = read_rows + piece.read_rows, read_bytes + piece.read_bytes
        if not count:
            described = self._session.describe(f"({sql.strip().rstrip(';')})")
            self._send_block(blocks.header([(name, kind) for name, kind, _ in described]))
        # The engine tells nothing of queries that are done before it looks at its clock.
        to_read = max(read_rows, self._reported[2])
        self._progress(
            {"read_rows": read_rows, "read_bytes": read_bytes, "total_rows_to_read": to_read}
        )
        self._send(
            varint(S_PROFILE), varint(total), varint(count), varint(size),
            b"\0", varint(total), b"\0",
        )  # fmt: skip

    def _send_blocks(self, data: bytes, rows: int = -1) -> None:
        """Sends Native data, cut into its blocks unless `rows` says that it is a single one."""
        rest = Source()
        rest.data += data[:32]
        if rows >= 0 and rest.varint() and rest.varint() == rows:
            self._send_block(data)
            return
        rest.data, rest.position = bytearray(data), 0
        while rest.position < len(data):
            start = rest.position
            if start == 0:
                self._send_block(blocks.header(blocks.columns(data)))
            blocks.skip_block(rest)
            self._send_block(data[start : rest.position])

    def _send_block(self, block: bytes) -> None:
        content = BLOCK_INFO + block
        frame = write_frame(content) if self._compressed else content
        self._send(varint(S_DATA), string(""), frame)

    def _insert(self, waiting: statements.Insert) -> None:
        """Sends the columns wanted, takes the blocks, and writes them after the last one."""
        columns = self._session.insert_columns(waiting)
        self._send_block(blocks.header(columns))
        total = size = 0
        with self._session.spool() as spool:
            while received := self._next_block():
                _, block, rows = received
                if rows:
                    spool.write(block)
                total, size = total + rows, size + len(block)
            if total:
                spool.flush()
                place = Path(spool.name)
                if waiting.structure:
                    self._session.insert_through(waiting, place)
                else:
                    self._session.insert(waiting.head, [name for name, _ in columns], place)
        zeros = varint(0) * 3
        self._send(varint(S_PROGRESS), zeros, varint(total), varint(size), varint(S_END))

    def _progress(self, totals: dict[str, int]) -> None:
        """The engine reports running totals; the protocol wants what is new."""
        if not self._reporting:
            return
        now = (totals["read_rows"], totals["read_bytes"], totals["total_rows_to_read"])
        new = [max(0, a - b) for a, b in zip(now, self._reported, strict=True)]
        self._reported = (max(now[0], self._reported[0]), max(now[1], self._reported[1]), now[2])
        with suppress(Disconnected):
            self._send(varint(S_PROGRESS), *map(varint, new), varint(0), varint(0))

    def _exception(self, error: EngineError) -> None:
        text = f"DB::Exception: {error}".replace("DB::Exception: DB::", "DB::")
        self._send(
            varint(S_EXCEPTION), struct.pack("<i", error.code), string("DB::Exception"),
            string(text), string(""), b"\0",
        )  # fmt: skip
