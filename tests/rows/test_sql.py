"""Rows from a real SQLite file, and from a stand-in for the databases that are not here."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from airflow_provider_crm._compat import BaseHook
from airflow_provider_crm.exceptions import CrmError, CrmFailError, CrmInputError
from airflow_provider_crm.rows import sql
from airflow_provider_crm.rows.sources import SqlSource, open_source


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """Make a database, and ``warehouse`` the connection to it."""
    path = tmp_path / "ware house?#%41.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE people (email TEXT, points NUMERIC)")
        people = [("a@x.fr", 1), ("b@x.fr", 2.5), (None, None)]
        database.executemany("INSERT INTO people VALUES (?, ?)", people)
        database.commit()
        yield database


class Opened:
    """Counts the engines that are made, and the connections that they have open."""

    def __init__(self) -> None:
        self.engines = 0
        self.connections = 0

    def watch(self, engine: sqlalchemy.engine.Engine) -> sqlalchemy.engine.Engine:
        self.engines += 1
        sqlalchemy.event.listen(engine, "connect", lambda *_: self._count(1))
        sqlalchemy.event.listen(engine, "close", lambda *_: self._count(-1))
        return engine

    def _count(self, change: int) -> None:
        self.connections += change


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Watch what is opened."""
    opened, real = Opened(), sql.engine_for
    monkeypatch.setattr(sql, "engine_for", lambda conn_id: opened.watch(real(conn_id)))
    return opened


def test_rows_of_a_query(read: Any, database: sqlite3.Connection) -> None:
    source = open_source(SqlSource("warehouse", "SELECT email, points AS amount FROM people"))
    assert source.description == "a SQL query on warehouse"
    assert source.columns() == ["email", "amount"]
    source.require(["amount"])
    assert [row.data for row in read(source).all] == [
        {"email": "a@x.fr", "amount": 1},
        {"email": "b@x.fr", "amount": 2.5},
        {"email": None, "amount": None},
    ]
    assert source.fraction_read() is None
    with pytest.raises(
        CrmInputError, match=r"Missing columns in the query on warehouse: x\. Columns there: email"
    ):
        source.require(["x"])


@pytest.mark.parametrize(
    ("where", "parameters"),
    [
        ("points = :points", {"points": 2.5}),
        ("points = ?", [2.5]),
        ("points = ?", (2.5,)),
        ("email LIKE 'b%'", None),
        ("email LIKE 'b%'", []),
        ("email LIKE 'b%'", {}),
    ],
)
def test_parameters(read: Any, database: sqlite3.Connection, where: str, parameters: Any) -> None:
    assert read(SqlSource("warehouse", f"SELECT email FROM people WHERE {where}", parameters)).good == [
        {"email": "b@x.fr"}
    ]


def test_the_columns_are_asked_of_the_query_that_is_read(
    database: sqlite3.Connection, opened: Opened
) -> None:
    source = open_source(SqlSource("warehouse", "SELECT email FROM people"))
    source.require(["email"])
    source.columns()
    assert len(list(source)) == 3
    assert opened.engines == 1
    assert len(list(source)) == 3
    assert opened.engines == 2


def test_connections_are_given_back(database: sqlite3.Connection, opened: Opened) -> None:
    source = open_source(SqlSource("warehouse", "SELECT email FROM people"))
    rows = iter(source)
    assert opened.connections == 0
    next(rows)
    assert opened.connections == 1
    rows.close()  # type: ignore[attr-defined]
    assert opened.connections == 0
    list(source)
    for wrong in ("SELECT nothing FROM people", "DELETE FROM people", "SELECT 1 AS a, 2 AS a"):
        with pytest.raises(CrmInputError):
            list(open_source(SqlSource("warehouse", wrong)))
    assert opened.connections == 0


def test_a_source_changes_nothing(database: sqlite3.Connection) -> None:
    with pytest.raises(CrmInputError, match="a source must be a SELECT"):
        list(open_source(SqlSource("warehouse", "DELETE FROM people")))
    assert database.execute("SELECT count(*) FROM people").fetchone() == (3,)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            "SELECT email FROM nobody",
            "The query on warehouse failed: OperationalError: no such table: nobody",
        ),
        ("SELEC", "syntax error"),
        ("SELECT 1 AS a, 2 AS b, 3 AS a", "several columns named a"),
        ('SELECT 1 AS ""', "without a name"),
    ],
)
def test_a_wrong_query_fails_for_good(database: sqlite3.Connection, query: str, said: str) -> None:
    with pytest.raises(CrmInputError, match=said):
        open_source(SqlSource("warehouse", query)).require(["email"])


def test_wrong_parameters_do_not_reach_the_log(database: sqlite3.Connection) -> None:
    with pytest.raises(CrmError) as caught:
        list(open_source(SqlSource("warehouse", "SELECT ? AS a", {"who": "jean@example.com"})))
    assert "jean" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_database_that_is_busy_may_be_tried_again(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = sql.engine_for("warehouse")
    monkeypatch.setattr(
        sql, "engine_for", lambda _: sqlalchemy.create_engine(engine.url, connect_args={"timeout": 0.01})
    )
    database.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CrmError, match="database is locked") as caught:
        list(open_source(SqlSource("warehouse", "SELECT email FROM people")))
    assert not isinstance(caught.value, CrmFailError)


def test_a_missing_connection() -> None:
    with pytest.raises(CrmInputError, match=r"There is no connection 'nobodys'.*AIRFLOW_CONN_NOBODYS"):
        list(open_source(SqlSource("nobodys", "SELECT 1")))


def test_a_connection_to_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", "nosuchtype://host")
    with pytest.raises(
        CrmInputError,
        match=r"of type 'nosuchtype' gives no SQL engine.*pip install apache-airflow-providers-nosuchtype",
    ):
        list(open_source(SqlSource("mail", "SELECT 1")))


@pytest.mark.parametrize("form", ["json", "uri", "quoted uri"])
def test_sqlite_needs_no_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    path = tmp_path / "my.db"
    quoted = str(path).replace("/", "%2F")
    value = {
        "json": json.dumps({"conn_type": "sqlite", "host": str(path)}),
        "uri": f"sqlite:///{path}",
        "quoted uri": f"sqlite://{quoted}",
    }[form]
    monkeypatch.setenv("AIRFLOW_CONN_MINE", value)
    monkeypatch.setattr(type(BaseHook.get_connection("mine")), "get_hook", None)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("CREATE TABLE t (a)")
    with sql.engine_for("mine").connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0


def test_sqlite_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", "sqlite://")
    with pytest.raises(CrmInputError, match="names no file"):
        sql.engine_for("mine")


def test_other_databases_are_asked_through_their_hook_for_a_server_side_cursor(
    read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: list[Any] = []
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'other.db'}")

    @sqlalchemy.event.listens_for(engine, "before_cursor_execute")
    def note(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        options.append(dict(context.execution_options))

    class Hook:
        def get_sqlalchemy_engine(self) -> Any:
            return engine

    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "postgres://host/db")
    monkeypatch.setattr(type(BaseHook.get_connection("other")), "get_hook", lambda self, **_: Hook())
    assert read(SqlSource("other", "SELECT 1 AS a")).good == [{"a": 1}]
    assert options[0]["stream_results"] is True


@pytest.mark.slow
def test_many_rows_are_fetched_in_parts(read: Any, database: sqlite3.Connection) -> None:
    query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12001) SELECT i FROM n"
    assert [row["i"] for row in read(SqlSource("warehouse", query)).good] == list(range(1, 12_002))


@pytest.mark.slow
def test_moments_that_python_has_none_for_spoil_their_row_only(
    read: Any, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "engine_for", lambda _: sqlalchemy.create_engine(postgres))
    query = (
        "SELECT * FROM (VALUES (1, date 'infinity', timestamp '-infinity', timestamptz 'infinity', time '24:00'),"
        " (2, '0044-03-15 BC', '0044-03-15 BC', '12345-01-01 00:00+00', '24:00'),"
        " (3, '2024-01-02', '2024-01-02 03:04:05.678901', '2024-01-02 03:04:05+00', '03:04'),"
        " (4, NULL, NULL, NULL, NULL)) AS odd (id, day, at, at_utc, hour) ORDER BY id"
    )
    infinite, ancient, good, nothing = read(SqlSource("warehouse", query)).good
    assert infinite == {
        "id": 1,
        "day": "infinity",
        "at": "-infinity",
        "at_utc": "infinity",
        "hour": "24:00:00",
    }
    assert ancient["day"] == "0044-03-15 BC"
    assert ancient["at_utc"].startswith("12345-01-01 ")
    assert good["day"] == dt.date(2024, 1, 2)
    assert good["at"] == dt.datetime(2024, 1, 2, 3, 4, 5, 678901)
    assert good["at_utc"] == dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert good["hour"] == dt.time(3, 4)
    assert set(nothing.values()) == {4, None}


def test_a_value_that_a_driver_cannot_give_fails_for_good_and_says_where(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("CREATE TABLE days (day timestamp)")
    database.execute("INSERT INTO days VALUES ('infinity')")
    database.commit()
    url = sql.engine_for("warehouse").url
    strict = {"detect_types": sqlite3.PARSE_DECLTYPES}
    monkeypatch.setattr(sql, "engine_for", lambda _: sqlalchemy.create_engine(url, connect_args=strict))
    with pytest.raises(CrmInputError, match=r"has no form for, after row 0: .*cast its column to text"):
        list(open_source(SqlSource("warehouse", "SELECT day FROM days")))


@pytest.mark.slow
def test_mysql_waits_a_day_for_rows_to_be_taken(mariadb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows wait in it while those before them are sent; after a minute it would end the query."""
    monkeypatch.setattr(sql, "engine_for", lambda _: sqlalchemy.create_engine(mariadb))
    (row,) = sql.QuerySource(SqlSource("warehouse", "SELECT @@net_write_timeout AS seconds"))
    assert row.data == {"seconds": 86_400}
