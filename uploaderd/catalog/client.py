"""The catalog's client: one connection, safe to use from several threads."""

from __future__ import annotations

import functools
import operator
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from clickhouse_driver import errors

from uploaderd.catalog import native, pinned
from uploaderd.catalog.group_commit import GroupCommit
from uploaderd.config.settings import DatabaseSettings
from uploaderd.errors import CatalogError, Disposition

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

BUSY = {
    202: "too many queries run at once",
    241: "the server is short of memory",
    243: "the server's disk is full",
    252: "too many parts wait for their merge",
    159: "the query took too long",
    209: "the server was too slow",
    999: "the cluster's keeper is not there",
    242: "the table is read-only",
}
"""Codes of the server that say: later."""
HERE = ("127.0.0.1", "::1", "localhost")
"""Hosts to which bytes are copied faster than compressed."""
NEAR = 4096
"""Rows whose values lie in the processor's cache while one column after the other is made of them.
The server puts the blocks of an INSERT together."""


class Refused(CatalogError):
    """The server refuses the statement; no repetition of the same one can help."""

    code = "catalog_refused"
    disposition = Disposition.FAILED


class Catalog:
    """One native connection to ClickHouse, opened on first use; queries queue at one lock.

    A lost connection is opened again by the next call. A call whose connection broke raises
    `CatalogError`: whoever repeats it may do so, for every row is idempotent by its key.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        wishes: Mapping[str, object] | None = None,
        *,
        compression: bool = True,
    ) -> None:
        """`wishes` are further settings of the driver and of every query.

        What goes to another machine is compressed, unless `compression` is false.
        """
        self.settings = settings
        self._lock = threading.Lock()
        self._door = threading.Lock()
        self._groups: dict[str, GroupCommit] = {}
        self._types: dict[str, dict[str, str]] = {}
        self._verified = False
        self._beside: Catalog | None = None
        self._client = native.BlockClient(
            host=settings.host,
            port=settings.port,
            database=settings.database,
            user=settings.user,
            password=settings.password.reveal(),
            secure=settings.secure,
            connect_timeout=min(10.0, settings.timeout_s),
            send_receive_timeout=settings.timeout_s,
            sync_request_timeout=min(5.0, settings.timeout_s),
            compression=compression and settings.host not in HERE,
            client_name="uploaderd",
            settings={**pinned.PINNED, **(wishes or {})},
            tcp_keepalive=True,
        )

    def query(self, sql: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of a query as dictionaries; `params` fill `%(name)s`."""

        def ask() -> list[dict[str, Any]]:
            rows, columns = self._client.execute(sql, params, with_column_types=True)
            names = [name for name, _ in columns]
            return [dict(zip(names, row, strict=True)) for row in rows]

        return self._guarded(ask)

    def record_batches(
        self,
        sql: str,
        params: Mapping[str, Any] | None = None,
        *,
        types: Mapping[str, Any],
        rows: int,
    ) -> Iterator[Any]:
        """A query's rows as Arrow record batches of at most `rows`, over a connection of its own.

        `types` gives the Arrow types of columns by name; strings come as bytes. No Python object
        is made for a value, memory is bounded by `rows`, and other calls are not held up. The
        answer is not compressed: unpacking it and its checksums cost more than they save.
        """
        wishes = {"use_numpy": True, "strings_as_bytes": True, "max_block_size": rows}
        with Catalog(self.settings, wishes, compression=False) as own:
            own._verified = self._verified
            batches = own._guarded(
                lambda: own._client.query_arrow_stream(
                    sql, params, field_metadata=False, arrow_types=dict(types)
                )
            )
            while (batch := own._guarded(lambda: next(batches, None))) is not None:
                yield batch

    def columns(self, table: str) -> list[tuple[str, str, str]]:
        """Name, type and comment of a table's columns that are written, in their order."""
        found = self.query(
            "SELECT name, type, comment FROM system.columns"
            " WHERE database = currentDatabase() AND table = %(table)s"
            " AND default_kind != 'MATERIALIZED' ORDER BY position",
            {"table": table},
        )
        return [(row["name"], row["type"], row["comment"]) for row in found]

    def execute(self, sql: str) -> None:
        """Runs a statement that gives nothing back."""
        self._guarded(lambda: self._client.execute(sql))

    def insert(self, table: str, rows: Sequence[DataclassInstance]) -> None:
        """Inserts rows of one class; back means that the server has them.

        Rows that several threads insert into one table at once go in together, as one block.
        """
        with self._door:
            if table not in self._groups:
                self._groups[table] = GroupCommit(functools.partial(self._insert_block, table))
        self._groups[table].insert(rows)

    def _insert_block(self, table: str, rows: Sequence[DataclassInstance]) -> None:
        types = self._types_of(table)
        names = [field.name for field in fields(rows[0])]
        parts = [rows[start : start + NEAR] for start in range(0, len(rows), NEAR)]
        blocks = native.Blocks(_block(table, names, types, part) for part in parts)
        sql = _insertion(table, names)
        self._guarded(lambda: self._client.execute(sql, blocks, columnar=True))

    def _types_of(self, table: str) -> dict[str, str]:
        """The types of the columns, asked for once."""
        if table not in self._types:
            found = self.query(f"DESCRIBE TABLE {table}")
            self._types[table] = {row["name"]: row["type"] for row in found}
        return self._types[table]

    def insert_columns(self, table: str, names: Sequence[str], columns: Sequence[Any]) -> None:
        """Inserts whole columns, sequences of one length, in one block.

        If they are NumPy arrays (texts of type object, times `datetime64[ns]` in UTC), all of them,
        no Python object is made for a number or a time: six times as fast. That needs pandas.
        """
        sql = _insertion(table, names)
        wishes = {
            "insert_block_size": 10_000_000,
            "use_numpy": bool(columns) and all(map(_is_array, columns)),
        }
        self._guarded(lambda: self._client.execute(sql, columns, columnar=True, settings=wishes))

    @property
    def beside(self) -> Catalog:
        """A second connection, for queries at the same time; closed with this one."""
        with self._door:
            if self._beside is None:
                self._beside = Catalog(self.settings)
            return self._beside

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            self._client.disconnect()
        if self._beside is not None:
            self._beside.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _guarded(self, call: Callable[[], T]) -> T:
        """Runs `call` alone, and makes every failure of the driver a `CatalogError`."""
        where = f"{self.settings.host}:{self.settings.port}"
        with self._lock:
            try:
                self._verify()
                return call()
            except errors.ServerException as error:
                first = str(error.message).split(" Stack trace:", 1)[0].strip()
                if error.code in BUSY:
                    raise CatalogError(
                        f"ClickHouse at {where} asks to wait: {BUSY[error.code]} "
                        f"(code {error.code}).",
                        hint=first,
                    ) from error
                if error.code == 81:
                    raise Refused(
                        f"ClickHouse at {where} has no database {self.settings.database}.",
                        hint="Run `uploaderctl catalog migrate`.",
                    ) from error
                raise Refused(f"ClickHouse at {where} refuses: {first}") from error
            except (errors.Error, OSError, EOFError) as error:
                self._client.disconnect()
                raise CatalogError(
                    f"ClickHouse at {where} cannot be reached: {error or type(error).__name__}.",
                    hint="Check that it runs and that `database` names its native port.",
                ) from error
            except BaseException:
                # A half-read answer would be taken for the next query's.
                self._client.disconnect()
                raise

    def _verify(self) -> None:
        """Before the first query: raises `Refused` if the server's settings are not ours."""
        if self._verified:
            return
        # A client for Arrow gives strings as bytes.
        found = [
            tuple(each.decode() if isinstance(each, bytes) else str(each) for each in row)
            for row in self._client.execute(pinned.QUERY)
        ]
        if said := pinned.problem((name, value) for name, value in found):
            raise Refused(
                said, hint="Change the profile of the user, or the table (docs/schema.md)."
            )
        self._verified = True


def _block(
    table: str, names: Sequence[str], types: Mapping[str, str], rows: Sequence[DataclassInstance]
) -> native.Block:
    columns = []
    for name in names:
        values = list(map(operator.attrgetter(name), rows))
        try:
            columns.append((name, types[name], native.encoded(types[name], values)))
        except (TypeError, ValueError, OverflowError, LookupError) as error:
            raise Refused(f"{table}.{name} does not take what a row has: {error}.") from error
    return native.Block(len(rows), tuple(columns))


def _insertion(table: str, names: Sequence[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in names)
    return f"INSERT INTO {table} ({listed}) VALUES"


def _is_array(column: object) -> bool:
    """Whether it is a NumPy array; most processes have none, and are spared NumPy's 14 MB."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(column, numpy.ndarray)
