"""SPREAD's quirks gone from what is read, and put into what is written."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.schemas.spread.cells import moment_text, text_of
from airflow_provider_crm.schemas.spread.read import (
    decode,
    plain_customer,
    query_of,
    record_of,
    rows_of,
    split_custom_field,
)
from airflow_provider_crm.schemas.spread.write import wire_consent, wire_credit, wire_customer
from airflow_provider_crm.values import number_text

# Reading


@pytest.mark.parametrize(
    ("tags", "plain"),
    [
        ("", []),
        (None, []),
        ([], []),
        ({}, []),
        (["a", "b|c"], ["a", "b|c"]),
        ("a|b", ["a", "b"]),
        ("|a|b|", ["a", "b"]),
        ("a", ["a"]),
        ({"0": "a", "2": "b"}, ["a", "b"]),
        (0, []),
    ],
)
def test_tags_are_a_list(tags: Any, plain: list[str]) -> None:
    assert plain_customer({"tags": tags}) == {"tags": plain}


def test_tags_are_always_there() -> None:
    assert plain_customer({}) == {"tags": []}


@pytest.mark.parametrize(
    ("given_fields", "plain"),
    [
        ({}, {}),
        ([], {}),
        ("", {}),
        (None, {}),
        (False, {}),
        ({"34567": "Sport:Basket", "5": None}, {"34567": "Sport:Basket", "5": None}),
        (["Sport:Basket"], {"0": "Sport:Basket"}),
    ],
)
def test_custom_fields_are_a_map(given_fields: Any, plain: dict[str, str]) -> None:
    assert plain_customer({"custom_fields": given_fields})["custom_fields"] == plain


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Sport:Basket", ("Sport", "Basket")),
        ("Site:https://x.fr", ("Site", "https://x.fr")),
        ("Sport:", ("Sport", "")),
        ("Basket", ("", "Basket")),
        ("", ("", "")),
    ],
)
def test_split_custom_field(text: str, parts: tuple[str, str]) -> None:
    assert split_custom_field(text) == parts


def test_ids_and_amounts_are_text() -> None:
    row = {"id": 5, "customerId": 0, "campaignId": None, "amount": -20, "cagnotteAmount": "7", "isFan": 1}
    assert record_of(row) == {
        "id": "5",
        "customerId": "0",
        "campaignId": None,
        "amount": "-20",
        "cagnotteAmount": "7",
        "isFan": 1,
    }


@pytest.mark.parametrize(
    "value", [5, "text", True, [1], ["a"], [[]], {"0": 1}, {"id": "1"}, [{"id": 1}, None]]
)
def test_no_list_of_records(value: Any) -> None:
    with pytest.raises(ValueError, match="list of records"):
        rows_of(value)


@pytest.mark.parametrize("value", [5, "text", True, [{"id": 1}]])
def test_no_record(value: Any) -> None:
    with pytest.raises(ValueError, match="record"):
        record_of(value)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_no_amount_is_rounded_on_its_way_in(amount: Decimal) -> None:
    assert Decimal(str(decode(msgspec.Raw(f'{{"amount": {amount:f}}}'.encode()))["amount"])) == amount


# Writing


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (dt.datetime(2024, 1, 2, 3, 4, 5, 999_999), "2024-01-02 03:04:05"),
        (dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.UTC), "2024-01-02 04:04:00"),
        (dt.datetime(2024, 7, 2, 3, 4, tzinfo=dt.UTC), "2024-07-02 05:04:00"),
        (dt.datetime(2024, 7, 2, 3, 4, tzinfo=ZoneInfo("Asia/Tokyo")), "2024-07-01 20:04:00"),
        (dt.datetime(24, 1, 2), "0024-01-02 00:00:00"),
        (dt.date(2024, 2, 29), "2024-02-29 00:00:00"),
    ],
)
def test_moment_text(value: dt.date, text: str) -> None:
    assert moment_text(value) == text


def test_a_moment_of_pendulum() -> None:
    pendulum = pytest.importorskip("pendulum")
    assert moment_text(pendulum.datetime(2024, 7, 2, 3, 4, tz="UTC")) == "2024-07-02 05:04:00"
    assert moment_text(pendulum.naive(2024, 7, 2, 3, 4)) == "2024-07-02 03:04:00"


def test_a_moment_beyond_the_calendar() -> None:
    with pytest.raises(CrmInputError, match="date"):
        moment_text(dt.datetime(9999, 12, 31, 23, 30, tzinfo=dt.UTC))


@given(
    st.one_of(
        st.decimals(-(10**30), 10**30, places=6),
        st.integers(-(10**40), 10**40),
        st.floats(-1e30, 1e30).filter(lambda number: number == 0 or abs(number) > 1e-30),
    )
)
def test_numbers_are_exact_and_json(number: Any) -> None:
    text = number_text(number)
    assert Decimal(text) == Decimal(str(number))
    assert json.loads(text, parse_float=Decimal, parse_int=Decimal) == Decimal(str(number))


@pytest.mark.parametrize("value", [[1], {"a": 1}, None, object(), dt.timedelta(1)])
def test_values_that_are_no_text(value: Any) -> None:
    with pytest.raises(ValueError, match="cannot be written as text"):
        text_of(value)


def test_query_of_keeps_what_was_meant() -> None:
    names = {"after": "createdAfter", "old_after": "createdAfter", "flag": "flag"}
    assert query_of({"after": None, "flag": False}, names) == [("flag", "0")]
    assert query_of({"after": None, "old_after": "x"}, names) == [("createdAfter", "x")]
    with pytest.raises(CrmInputError, match="twice"):
        query_of({"after": "y", "old_after": "x"}, names)
    with pytest.raises(CrmInputError, match=r"Unknown filter\(s\) a, b; allowed are after, old_after, flag"):
        query_of({"b": None, "a": 1}, names)


def test_wire_customer() -> None:
    assert wire_customer(
        {
            "email": " A@b.fr ",
            "lastName": None,
            "birthday": dt.datetime(1990, 2, 3, 4, 5),
            "isFan": False,
            "isFollow": 1,
            "isBuyer": "0",
            "zip": 75001,
            "externalId": Decimal("42"),
            "tags": "|a|b|",
            "custom_fields": {1: 4.5, 2: dt.date(2018, 2, 13), 3: None, 4: ("x", 2), 5: "un texte", 6: []},
        }
    ) == {
        "email": "A@b.fr",
        "lastName": None,
        "birthday": "1990-02-03",
        "isFan": 0,
        "isFollow": 1,
        "isBuyer": "0",
        "zip": "75001",
        "externalId": "42",
        "tags": ["a", "b"],
        "custom_fields": {"1": "4.5", "2": "2018-02-13", "3": None, "4": "x|2", "5": "un texte", "6": ""},
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("zip", float("nan")),
        ("city", ["Lyon"]),
        ("city", {"name": "Lyon"}),
        ("tags", 5),
        ("tags", [None]),
        ("custom_fields", ["a"]),
        ("custom_fields", {1: {"a": 1}}),
        ("custom_fields", {1: float("inf")}),
    ],
)
def test_a_value_that_cannot_be_written_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(CrmInputError, match=f"The field {field}: "):
        wire_customer({"email": "a@b.fr", field: value})


@pytest.mark.parametrize("number", ["9876", 9876, " 9876 "])
def test_a_numeric_consent_is_a_number(number: Any) -> None:
    consent = wire_consent(
        status="accepted",
        created_at=dt.date(2024, 1, 2),
        consent_id=number,
        consent_tech_name=None,
        ip="",
        channel_id=None,
    )
    assert consent == {
        "id": 9876,
        "consentId": 9876,
        "createdAt": "2024-01-02 00:00:00",
        "customerConsentStatus": "accepted",
    }


@pytest.mark.parametrize("customer_id", [5, "5", "x"])
def test_a_credit_by_id(customer_id: Any) -> None:
    credit = wire_credit(amount=1, email=None, customer_id=customer_id)
    assert credit["customer"] == {"customerId": str(customer_id)}
