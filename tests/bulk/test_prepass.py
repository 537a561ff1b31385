"""The look through a source before its first row is sent: what it sees is what is sent, and a query runs once."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.bulk import prepass
from airflow_provider_crm.bulk.prepass import Announced, AtLeast, Check, Digest, look_through
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows import scratch
from airflow_provider_crm.rows.row import Row, UnreadableRow
from airflow_provider_crm.rows.sources import SqlSource, open_source
from tests.helpers.properties import at_least


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A table of ten people, which each query for them makes longer by one."""
    path = tmp_path / "people.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("CREATE TABLE person (email TEXT)")
        database.executemany("INSERT INTO person VALUES (?)", [(f"p{n}@x.fr",) for n in range(10)])
    monkeypatch.setenv("AIRFLOW_CONN_DB", f'{{"conn_type": "sqlite", "host": "{path}"}}')

    def grow() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("INSERT INTO person VALUES ('late@x.fr')")

    return grow


def emails(source: Any) -> list[str]:
    return [row.data["email"] for row in source]


TEN = [f"p{number}@x.fr" for number in range(10)]


@pytest.mark.parametrize("checks", [[AtLeast(3)], [Announced(10)], [AtLeast(3), Announced(10)]], ids=len)
def test_the_rows_of_a_query_that_were_checked_are_those_that_are_sent(
    people: Any, checks: list[Check]
) -> None:
    source = look_through(open_source(SqlSource("db", "SELECT email FROM person")), checks)
    people()
    assert emails(source) == TEN


def test_a_query_that_was_read_whole_can_be_read_again(people: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "IN_MEMORY", 100)
    source = look_through(open_source(SqlSource("db", "SELECT email FROM person")), [Announced(10)])
    people()
    assert emails(source) == emails(source) == TEN


def test_a_retry_whose_rows_have_changed_reads_all_of_them(people: Any) -> None:
    source = look_through(open_source(SqlSource("db", "SELECT email FROM person")), [AtLeast(3)])
    assert emails(source) == TEN
    people()
    assert emails(source) == [*TEN, "late@x.fr"]


def test_what_a_query_gives_is_kept_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = {"n": None, "d": Decimal("1.50"), "t": dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "b": b"\x00"}
    kept = prepass._KeptRows()
    kept.add(Row(1, {**cells, "m": memoryview(b"a")}))
    kept.add(UnreadableRow(2, "no date", {"cells": ["x"]}))
    assert list(kept) == [Row(1, {**cells, "m": b"a"}), UnreadableRow(2, "no date", {"cells": ["x"]})]


@pytest.mark.parametrize(
    ("check", "rows", "said"),
    [(AtLeast, 11, "10 rows, fewer than min_rows=11"), (Announced, 9, "10 rows, 9 were announced")],
)
def test_a_source_of_another_size_is_refused(people: Any, check: Any, rows: int, said: str) -> None:
    for source in ([{"email": email} for email in TEN], SqlSource("db", "SELECT email FROM person")):
        with pytest.raises(CrmInputError, match=said):
            look_through(open_source(source), [check(rows)])


def test_no_more_is_read_than_is_needed() -> None:
    class Rows(list[dict[str, Any]]):
        read = 0

        def __iter__(self) -> Any:
            for row in super().__iter__():
                self.read += 1
                yield row

    rows = Rows({"email": email} for email in TEN)
    source = look_through(open_source(rows), [AtLeast(3)])
    assert rows.read == 3
    assert emails(source) == TEN


def digest(rows: list[dict[str, Any]], key: bytes = b"key") -> str:
    digest = Digest(key)
    assert list(look_through(open_source(rows), [digest])) == list(open_source(rows))
    return digest.text


CELLS = st.one_of(st.none(), st.text(max_size=3), st.integers(0, 3), st.booleans())
ROWS = st.lists(st.dictionaries(st.sampled_from("ab"), CELLS, min_size=1), max_size=5)


@pytest.mark.slow
@at_least(200)
@given(first=ROWS, second=ROWS, order=st.randoms())
def test_a_digest_is_that_of_the_same_rows_only(first: Any, second: Any, order: Any) -> None:
    def of(rows: Any) -> list[str]:
        return sorted(json.dumps(row) for row in rows)

    assert (digest(first) == digest(second)) == (of(first) == of(second))
    mixed = list(first)
    order.shuffle(mixed)
    assert digest(mixed) == digest(first)


def test_a_digest_is_of_no_use_without_its_key() -> None:
    rows = [{"email": "zoe@x.fr"}]
    assert digest(rows) != digest(rows, b"another")
    assert digest([*rows, *rows]) != digest(rows)


def test_what_a_crm_gives_is_asked_for_once() -> None:
    asked = []

    class Answers:
        """Rows of which a second reading finds more."""

        description = "answers"
        may_change = True

        def columns(self) -> list[str]:
            return ["email"]

        def require(self, columns: Any, optional: Any = ()) -> None:
            pass

        def fraction_read(self) -> None:
            return None

        def __iter__(self) -> Any:
            asked.append(1)
            yield from (Row(number + 1, {"email": f"p{number}@x.fr"}) for number in range(len(asked)))

    source = look_through(Answers(), [Announced(1)])
    assert emails(source) == emails(source) == ["p0@x.fr"]
    assert asked == [1]
