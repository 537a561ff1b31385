"""The engine behind any Airflow connection to a SQL database: the one way in which this package opens one.

SQLAlchemy is imported where it is used: a DAG that only names a query does not load it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_crm._compat import AirflowException, AirflowNotFoundException, BaseHook
from airflow_provider_crm.exceptions import CrmInputError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


def engine_for(conn_id: str) -> Engine:
    """Return a SQLAlchemy engine for an Airflow connection to a SQL database.

    :param conn_id: a connection of any type whose hook offers an engine; for SQLite, of type ``sqlite`` with the
        path of the file in ``host``.
    :raises CrmInputError: there is no such connection, or it is none to a SQL database.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise CrmInputError(
            f"There is no connection {conn_id!r}. Make one to your SQL database: in the UI under Admin, Connections; "
            f"with `airflow connections add`; or in the environment as AIRFLOW_CONN_{conn_id.upper()}."
        ) from error
    if connection.conn_type == "sqlite":
        return _sqlite_engine(connection)
    try:
        hook: Any = connection.get_hook()  # type: ignore[no-untyped-call]
        engine: Engine = hook.get_sqlalchemy_engine()
    except (AirflowException, ImportError, AttributeError) as error:
        provider = f"apache-airflow-providers-{str(connection.conn_type).replace('_', '-')}"
        raise CrmInputError(
            f"The connection {conn_id!r} of type {connection.conn_type!r} gives no SQL engine: it must be one to a SQL "
            f"database, and the Airflow provider for its type must be installed, mostly by: pip install {provider}. "
            f"SQLite (type 'sqlite', the file's path as host) needs none. ({type(error).__name__})"
        ) from error
    return engine


def _sqlite_engine(connection: Any) -> Engine:
    """Open the file directly: this needs no provider, and no path is mangled as part of a URI."""
    from sqlalchemy import create_engine
    from sqlalchemy.engine import URL

    # In a connection given as a URI, as in sqlite:////tmp/my.db, the path is what Airflow calls the schema.
    path = connection.host or (connection.schema and "/" + connection.schema.lstrip("/"))
    if not path:
        raise CrmInputError(f"The connection {connection.conn_id!r} names no file: put its path in the host.")
    return create_engine(URL.create("sqlite", database=path))
