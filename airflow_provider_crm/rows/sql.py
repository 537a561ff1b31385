"""A SQL query as a source of rows.

Knows no CRM. SQLAlchemy is imported where it is used: a DAG that only names a query does not load it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_crm.databases.engines import engine_for
from airflow_provider_crm.exceptions import CrmError, CrmInputError, redact
from airflow_provider_crm.rows.row import (
    Block,
    Row,
    UnreadableRow,
    check_column_names,
    each_row,
    require_columns,
)
from airflow_provider_crm.rows.shared_cells import SharedCells

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, CursorResult

#: How many rows are fetched at a time.
FETCH_ROWS = 5_000
#: Seconds that may pass between two fetches: what was fetched is sent meanwhile, by a CRM's limit perhaps one row a
#: second. MySQL ends a query whose rows nobody takes for 60 seconds, unless ``net_write_timeout`` says another number:
#: https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html#sysvar_net_write_timeout
LONGEST_PAUSE = 86_400

# What SQLite and MySQL say of a query that is wrong; they file it under the errors that may pass.
_WRONG_QUERY = ("no such", "syntax", "unknown column", "doesn't exist")


@dataclass
class SqlSource:
    """The rows that a SQL query gives, streamed by a server-side cursor where the database has them.

    :param conn_id: the Airflow connection to the database (templated).
    :param sql: the query (templated). Without an ``ORDER BY`` a retry may meet the rows in another order.
    :param parameters: values for the placeholders of the database's driver (templated): a dict or a list.
    """

    conn_id: str
    sql: str
    parameters: Any = None

    # Airflow sets the rendered values on the object itself, so it cannot be frozen.
    template_fields = ("conn_id", "sql", "parameters")


class QuerySource:
    """The rows of a :class:`SqlSource`; satisfies :class:`~airflow_provider_crm.rows.sources.Source`."""

    may_change = True

    def __init__(self, source: SqlSource) -> None:
        self._source = source
        self._pending: _Cursor | None = None
        self._columns: list[str] | None = None

    @property
    def description(self) -> str:
        return f"a SQL query on {self._source.conn_id}"

    def columns(self) -> list[str]:
        if self._columns is None:
            # The rows are read from this very answer, so that the query runs once only.
            self._pending = _Cursor(self._source)
            self._columns = self._pending.columns
        return self._columns

    def require(self, columns: Collection[str], optional: Collection[str] = ()) -> None:
        require_columns([*columns, *optional], self.columns(), f"the query on {self._source.conn_id}")

    def __iter__(self) -> Iterator[Row | UnreadableRow]:
        return each_row(self.parts())

    def parts(self) -> Iterator[Block]:
        """Read as :meth:`__iter__` does, many rows at once."""
        cursor, self._pending = self._pending or _Cursor(self._source), None
        with closing(cursor):
            self._columns = cursor.columns
            yield from cursor.blocks()

    def fraction_read(self) -> None:
        return None


class _Cursor:
    """One execution of a query."""

    def __init__(self, source: SqlSource) -> None:
        self._name = f"The query on {source.conn_id}"
        with ExitStack() as cleanup:
            engine = engine_for(source.conn_id)
            cleanup.callback(engine.dispose)
            with _said_plainly(self._name):
                connection = cleanup.enter_context(engine.connect())
                connection.begin()  # never committed: a source only reads
                _keep_odd_moments(connection)
                _let_rows_wait(connection)
                self._result = _execute(connection, source)
            if not self._result.returns_rows:
                raise CrmInputError(f"{self._name} gives no rows: a source must be a SELECT.")
            self.columns = check_column_names(list(map(str, self._result.keys())), self._name)
            self.close = cleanup.pop_all().close

    def blocks(self) -> Iterator[Block]:
        number, shared = 0, SharedCells()
        try:
            with _said_plainly(self._name):
                for rows in self._result.partitions(FETCH_ROWS):
                    if columns := list(zip(*rows, strict=True)):
                        yield Block(number + 1, self.columns, columns, shared)
                    number += len(rows)
        except (ValueError, OverflowError) as error:
            raise CrmInputError(
                f"{self._name} gives a value that Python has no form for, after row {number}: {redact(error)}. Let "
                f"the query cast its column to text, so that only this row is rejected."
            ) from None


def _execute(connection: Connection, source: SqlSource) -> CursorResult[Any]:
    parameters = source.parameters or None
    if isinstance(parameters, list):
        parameters = tuple(parameters)  # a list would mean many executions
    # Without parameters the query goes to the driver untouched, so that LIKE 'a%' needs no doubled sign.
    streaming = connection.execution_options(
        stream_results=True, no_parameters=True, max_row_buffer=FETCH_ROWS
    )
    return streaming.exec_driver_sql(source.sql, parameters)


def _let_rows_wait(connection: Connection) -> None:
    """Have MySQL keep rows as long as it takes to send those before."""
    from sqlalchemy.exc import DBAPIError

    if connection.dialect.name in ("mysql", "mariadb"):
        with suppress(DBAPIError):  # what only speaks its protocol may not know it
            connection.exec_driver_sql(f"SET SESSION net_write_timeout = {LONGEST_PAUSE}")


def _keep_odd_moments(connection: Connection) -> None:
    """Set PostgreSQL's drivers to return moments that Python cannot hold as text, so that their row alone is refused.

    They are ``infinity``, years before 1 and after 9999, and 24:00. psycopg fails the whole query at each; psycopg2
    does at the years, and takes infinity for 9999-12-31 and 24:00 for 00:00.
    """
    driver = connection.dialect.driver
    own: Any = connection.connection.driver_connection
    if driver == "psycopg2":
        from psycopg2 import extensions

        readers = {
            1082: extensions.PYDATE,
            1083: extensions.PYTIME,
            1114: extensions.PYDATETIME,
            1184: extensions.PYDATETIMETZ,
            1266: extensions.PYTIME,
        }
        for oid, reader in readers.items():
            extensions.register_type(extensions.new_type((oid,), "ODD_MOMENT", _or_text(reader)), own)
    elif driver == "psycopg":
        from psycopg.types import datetime as loaders

        for name in ("Date", "Time", "Timetz", "Timestamp", "Timestamptz"):
            loader = getattr(loaders, f"{name}Loader")
            own.adapters.register_loader(name.lower(), _loader_or_text(loader))


def _or_text(reader: Callable[[str | None, Any], Any]) -> Callable[[str | None, Any], Any]:
    def read(text: str | None, cursor: Any) -> Any:
        if text is not None and (text.endswith("infinity") or text.startswith("24:")):
            return text
        try:
            return reader(text, cursor)
        except (ValueError, OverflowError):
            return text

    return read


def _loader_or_text(loader: Any) -> Any:
    from psycopg import DataError

    class OrText(loader):  # type: ignore[misc]
        def load(self, data: Any) -> Any:
            try:
                return super().load(data)
            except DataError:
                return bytes(data).decode()

    return OrText


@contextmanager
def _said_plainly(name: str) -> Iterator[None]:
    """Turn a database's error into ours, without the query and its parameters, which may be people's data."""
    from sqlalchemy.exc import DataError, DBAPIError, ProgrammingError, SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        message = f"{name} failed: {type(cause).__name__}: {redact(cause)}"
        wrong = isinstance(error, ProgrammingError | DataError) or any(
            words in str(cause).lower() for words in _WRONG_QUERY
        )
        if wrong or not isinstance(error, DBAPIError):
            raise CrmInputError(f"{message}. Correct the query.") from None
        raise CrmError(message) from None
