"""Which column goes into which field, and what counts as empty."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.rows.sources import open_source
from airflow_provider_crm.values import is_empty

FIELDS = {"email": 1, "e-mail": 1, "name": 14, "city": 17}


def find(name: str | int) -> int | None:
    return FIELDS.get(str(name).lower())


def make(field_map: Any = None, **settings: Any) -> FieldMapping[int]:
    return FieldMapping(find, field_map, known=FIELDS.keys, **settings)


class NotATime(dt.datetime):
    """What a data frame puts in place of a missing date: a date that does not equal itself."""

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = dt.datetime.__hash__


NOTHING = [None, "", " \t\u00a0", float("nan"), Decimal("NaN"), Decimal("sNaN"), NotATime(2024, 1, 1)]
SOMETHING = [0, False, 0.0, Decimal(0), "0", "-", dt.datetime(1, 1, 1), [0], {"": None}, float("inf")]


@pytest.mark.parametrize("value", NOTHING, ids=repr)
def test_empty(value: Any) -> None:
    assert is_empty(value)


@pytest.mark.parametrize("value", SOMETHING, ids=repr)
def test_not_empty(value: Any) -> None:
    assert not is_empty(value)


def test_empty_cells_are_skipped_or_sent_as_none() -> None:
    row = {"email": "zoe@example.fr", "name": " ", "town": "Paris"}
    field_map = {"email": "email", "name": "name", "town": "city"}
    assert dict(make(field_map).fields(row)) == {1: "zoe@example.fr", 17: "Paris"}
    assert dict(make(field_map, nulls="send").fields(row)) == {1: "zoe@example.fr", 14: None, 17: "Paris"}
    assert dict(make(field_map, nulls="send").fields({"email": "x"})) == {1: "x"}, (
        "an absent column is not sent"
    )


def test_the_key_column_is_found() -> None:
    source = open_source([{"mail": "zoe@example.fr", "City": "Paris"}])
    assert make({"mail": "EMAIL", "City": "city"}).check(source, 1) == "mail"
    assert make().check(open_source([{"Email": "zoe@example.fr"}]), 1) == "Email"
    assert make().check(open_source([]), 1) == ""


@pytest.mark.parametrize(
    ("field_map", "words"),
    [
        ({"x": "email", "City": "city"}, "x"),
        ({"City": "city"}, "match key"),
        ({"mail": "email", "City": "e-mail"}, "already fills"),
        (
            {"mail": "email", "City": "town"},
            "'town' is no field of the CRM; known are city, e-mail, email, name",
        ),
        (None, "'mail' is no field"),
        (["mail"], "mapping"),
    ],
)
def test_what_cannot_be_mapped(field_map: Any, words: str) -> None:
    source = open_source([{"mail": "zoe@example.fr", "City": "Paris"}])
    with pytest.raises(CrmInputError) as raised:
        make(field_map).check(source, 1)
    assert words in str(raised.value)


def test_columns_that_only_later_rows_have() -> None:
    mapping = make()
    mapping.check(open_source([{"email": "zoe@example.fr"}]), 1)
    late = {"email": "max@example.fr", "name": "Max"}
    with ThreadPoolExecutor(8) as pool:
        assert (
            list(pool.map(lambda row: dict(mapping.fields(row)), [late] * 200))
            == [{1: "max@example.fr", 14: "Max"}] * 200
        )
    with pytest.raises(ValueError, match="'shoe' is no field"):
        dict(mapping.fields({"email": "x", "shoe": 42}))
    with pytest.raises(ValueError, match="already fills"):
        dict(mapping.fields({"email": "x", "e-mail": "y"}))
    assert dict(mapping.fields({"email": "x", "shoe": None})) == {1: "x"}


def test_a_column_that_no_row_has_today_may_be_absent_where_there_is_no_header(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mapping = make({"mail": "email", "City": "city"})
    (tmp_path / "a.jsonl").write_text('{"mail": "zoe@example.fr"}\n')
    for source in ([{"mail": "zoe@example.fr"}], str(tmp_path / "a.jsonl")):
        assert mapping.check(open_source(source), 1) == "mail"
        assert "has the columns City: nothing is sent of them" in caplog.text
        caplog.clear()
    (tmp_path / "a.csv").write_text("mail\nzoe@example.fr\n")
    with pytest.raises(CrmInputError, match=r"Missing columns in a\.csv: City"):
        mapping.check(open_source(str(tmp_path / "a.csv")), 1)


@pytest.mark.parametrize("others", [[], ["name", "city"]])
def test_columns_that_only_the_crm_writes_are_passed_over(others: list[str]) -> None:
    mapping = make(passed_over=lambda columns: ("id", "created", "more"), nulls="send")
    names = ["id", "email", *others, "created"]
    rows = [dict.fromkeys(names, "a"), {"email": "b"}, {"more": 1, "email": "c", "name": "d"}]
    mapping.check(open_source(rows[:1]), 1)
    assert dict(mapping.fields(rows[0])) == {FIELDS[name]: "a" for name in ("email", *others)}
    assert dict(mapping.fields(rows[1])) == {1: "b"}
    assert dict(mapping.fields(rows[2])) == {1: "c", 14: "d"}
    with pytest.raises(ValueError, match="'x' is no field"):
        mapping.fields({**dict.fromkeys(names[1:], "a"), "x": 1})
    with pytest.raises(CrmInputError, match="'id' is no field"):
        make({"email": "email", "id": "id"}, passed_over=lambda columns: ("id",))


@pytest.mark.parametrize("field_map", [None, {"jean@example.com": "email"}, {"y": "city"}])
def test_columns_that_are_peoples_data_are_masked(tmp_path: Path, field_map: Any) -> None:
    (tmp_path / "a.csv").write_text("x,jean@example.com,+33612345678\n1,2,3\n")
    mapping = make(field_map)
    with pytest.raises(CrmInputError) as raised:
        mapping.check(open_source(str(tmp_path / "a.csv")), 17 if field_map else 1)
    assert "jean" not in str(raised.value)
    assert "12345678" not in str(raised.value)


def test_a_column_of_a_later_row_is_masked() -> None:
    mapping = make()
    mapping.check(open_source([{"email": "zoe@example.fr"}]), 1)
    with pytest.raises(ValueError, match="'<email>' is no field"):
        dict(mapping.fields({"email": "x", "jean@example.com": "y"}))
