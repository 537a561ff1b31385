"""Customers as ExpertSender CDP wants them on the wire."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.schemas.expertsender.cells import moment_text
from airflow_provider_crm.schemas.expertsender.consents import asks_for_confirmation
from airflow_provider_crm.schemas.expertsender.write import wire_customer


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (57, "57"),
        (57.0, "57"),
        ("057", "057"),
        (Decimal("5E+1"), "50"),
        (0.1, "0.1"),
        (None, None),
        (True, "true"),
        (dt.date(2024, 2, 29), "2024-02-29"),
        (dt.datetime(2024, 2, 29, 1, tzinfo=dt.UTC), "2024-02-29T01:00:00.000Z"),
    ],
)
def test_texts(value: Any, text: str | None) -> None:
    assert wire_customer({"firstName": value}) == {"firstName": text}
    attribute = {"name": "a", "value": value}
    assert wire_customer({"customAttributes": [attribute]}) == {
        "customAttributes": [{"name": "a", "value": text}]
    }


@pytest.mark.parametrize("value", [float("nan"), Decimal("Infinity"), [1], {"a": 1}, b"\xff"])
def test_no_text(value: Any) -> None:
    with pytest.raises(CrmInputError, match=r"^firstName: "):
        wire_customer({"firstName": value})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (dt.date(1990, 2, 3), "1990-02-03T00:00:00.000Z"),
        (dt.datetime(2023, 7, 25, 12, 35, 54, 712_999), "2023-07-25T12:35:54.712Z"),
        (
            dt.datetime(2023, 7, 25, 12, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            "2023-07-25T10:00:00.000Z",
        ),
    ],
)
def test_moments(value: dt.date, text: str) -> None:
    assert moment_text(value) == text
    assert wire_customer({"dateOfBirth": value}) == {"dateOfBirth": text}


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (True, "True"),
        (False, "False"),
        ("True", "True"),
        ("awaitingconfirmation ", "AwaitingConfirmation"),
        (None, None),
    ],
)
def test_consents_are_words(value: Any, word: str | None) -> None:
    data = {"consents": [{"id": 1, "value": value}], "force": True}
    wire = wire_customer({"consentsData": data})
    assert wire == {"consentsData": {"consents": [{"id": 1, "value": word}], "force": True}}
    assert asks_for_confirmation(wire) is (word == "AwaitingConfirmation")
    assert data["consents"] == [{"id": 1, "value": value}]


@pytest.mark.parametrize(
    ("customer", "reason"),
    [
        ({"consentsData": {"consents": [{"id": 1, "value": "Ture"}]}}, "consentsData: allowed are True"),
        ({"dateOfBirth": "2O26-06-30"}, "dateOfBirth: a date is written"),
        ({"gender": "F"}, "gender: allowed are"),
        ({"email": "nobody"}, "email: this is not an e-mail address"),
        ({"crmId": True}, "crmId: a value of type bool is no key"),
        ({"phone": "3.36123E+10"}, "phone: a spreadsheet has cut digits off"),
    ],
)
def test_the_hook_checks_what_the_operators_check(customer: Any, reason: str) -> None:
    with pytest.raises(CrmInputError, match="^" + reason):
        wire_customer(customer)


@pytest.mark.parametrize(
    "customer", [{}, {"consentsData": None}, {"consentsData": {}}, {"consentsData": {"consents": None}}]
)
def test_no_consents(customer: Any) -> None:
    assert wire_customer(customer) == customer
    assert not asks_for_confirmation(customer)


@pytest.mark.parametrize(
    "customer",
    [
        {"consentsData": "True"},
        {"consentsData": [1]},
        {"consentsData": {"consents": "True"}},
        {"consentsData": {"consents": [1]}},
        {"customAttributes": "Size"},
        {"customAttributes": 5},
        {"customAttributes": {"Size": 42}},
    ],
)
def test_another_shape_than_documented(customer: Any) -> None:
    with pytest.raises(CrmInputError, match="another shape"):
        wire_customer(customer)
