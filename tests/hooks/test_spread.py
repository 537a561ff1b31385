"""One customer of SPREAD, read or found, in all the shapes that an answer may come in."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError, CrmRequestError, CrmUnreadableAnswerError

from .spread_calls import BASE, JOHN, query

# Reading one customer


def test_get_customer(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(
        f"{BASE}/customers/123456",
        json={"customer": {**JOHN, "custom_fields": {"34567": "Sport:Basket"}, "status": "Statut bronze"}},
    )
    customer = spread.get_customer(123456)
    assert customer == {**JOHN, "custom_fields": {"34567": "Sport:Basket"}, "status": "Statut bronze"}
    request = requests_mock.last_request
    assert request.headers["Authorization"] == "Basic cHVibGljLWtleTpwcml2YXRlLWtleQ=="
    assert query(request) == []


NOTHING = [
    {"json": {"customer": None}},
    {"json": {"customer": []}},
    {"json": {"customer": ""}},
    {"json": {"customer": False}},
    {"json": {"customer": {}}},
    {"text": "null"},
    {"text": "[]"},
    {"status_code": 404, "json": {"error": "Customer not found."}},
    {"status_code": 404, "text": "<h1>Not found</h1>"},
]


@pytest.mark.parametrize("answer", NOTHING)
def test_a_customer_that_is_absent(spread: Any, requests_mock: Any, answer: Any) -> None:
    requests_mock.get(f"{BASE}/customers/1", **answer)
    assert spread.get_customer("1") is None


@pytest.mark.parametrize(
    "answer", [{"customer": "John"}, {"customer": [1]}, {"customers": []}, {"count": 0}, 5]
)
def test_a_customer_of_another_shape(spread: Any, requests_mock: Any, answer: Any) -> None:
    requests_mock.get(f"{BASE}/customers/1", json=answer)
    with pytest.raises(CrmUnreadableAnswerError):
        spread.get_customer("1")


@pytest.mark.parametrize("word", ["error", "errors", "message"])
def test_a_refusal_with_status_200(spread: Any, requests_mock: Any, word: str) -> None:
    requests_mock.get(f"{BASE}/customers/1", json={word: "Clef inconnue de bob@example.com"})
    with pytest.raises(CrmRequestError, match="SPREAD refused the call: Clef inconnue de <email>") as caught:
        spread.get_customer("1")
    assert caught.value.reason == "Clef inconnue de bob@example.com"
    assert (caught.value.call, caught.value.status) == ("GET /customers/{id}", 200)
    assert requests_mock.call_count == 1


# Finding a customer


def test_find_by_email(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/customers", json={"customers": [{**JOHN, "email": "Bob@Example.com"}]})
    assert spread.find_customer(email=" BOB@example.com ")["id"] == "123456"
    assert query(requests_mock.last_request) == [
        ("email", "bob@example.com"),
        ("caseInsensitive", "1"),
        ("showCustomFields", "1"),
        ("startAt", "0"),
        ("maxResults", "25"),
        ("maxResult", "25"),
    ]
    assert requests_mock.call_count == 1


def test_find_by_external_id(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/customers", json={"customers": [{"id": 1, "externalId": 42}]})
    assert spread.find_customer(external_id=42) == {"id": "1", "externalId": "42", "tags": []}
    assert query(requests_mock.last_request)[0] == ("externalId", "42")


@pytest.mark.parametrize(
    "answer",
    [
        {"json": {"customers": []}},
        {"json": {"customers": None}},
        {"json": {"customers": ""}},
        {"json": {"customers": False}},
        {"text": "null"},
        {"text": "[]"},
        {"status_code": 404},
        # A server that overlooks the filter, or compares loosely.
        {"json": {"customers": [{"id": "1", "email": "stranger@example.com"}]}},
        {"json": {"customers": [{"id": "1", "email": None}, {"id": "2"}]}},
    ],
)
def test_nobody_is_found(spread: Any, requests_mock: Any, answer: Any) -> None:
    requests_mock.get(f"{BASE}/customers", **answer)
    assert spread.find_customer(email="bob@example.com") is None
    assert spread.find_customer(external_id="42") is None


def test_an_exact_match_goes_first(spread: Any, requests_mock: Any) -> None:
    rows = [
        {"id": "1", "email": "Bob@example.com"},
        {"id": "2", "email": "bob@example.com"},
        {"id": "3", "email": "bob@example.com.au"},
    ]
    requests_mock.get(f"{BASE}/customers", json={"customers": rows})
    assert spread.find_customer(email="bob@example.com")["id"] == "2"
    assert spread.find_customer(email="Bob@example.com")["id"] == "1"
    with pytest.raises(CrmRequestError, match="2 customers have this email"):
        spread.find_customer(email="BOB@example.com")


def test_one_external_id_of_several_customers(spread: Any, requests_mock: Any) -> None:
    twice = {"id": "1", "externalId": "A1"}
    requests_mock.get(f"{BASE}/customers", json={"customers": [twice, twice]})
    assert spread.find_customer(external_id="A1")["id"] == "1"
    requests_mock.get(f"{BASE}/customers", json={"customers": [twice, {"id": "2", "externalId": "A1"}]})
    with pytest.raises(CrmRequestError, match="which one is meant is unknown"):
        spread.find_customer(external_id="A1")


def test_external_ids_keep_their_case(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/customers", json={"customers": [{"id": "1", "externalId": "a1"}]})
    assert spread.find_customer(external_id="A1") is None


def test_a_whole_page_of_strangers(spread: Any, requests_mock: Any) -> None:
    strangers = [{"id": str(number), "email": f"s{number}@example.com"} for number in range(25)]
    requests_mock.get(f"{BASE}/customers", json={"customers": strangers})
    with pytest.raises(CrmUnreadableAnswerError, match="ignores the filter"):
        spread.find_customer(email="bob@example.com")


@pytest.mark.parametrize(
    "who", [{}, {"email": "a@b.fr", "external_id": "1"}, {"email": ""}, {"email": "  "}, {"external_id": ""}]
)
def test_find_whom(spread: Any, requests_mock: Any, who: Any) -> None:
    with pytest.raises(CrmInputError):
        spread.find_customer(**who)
    assert not requests_mock.called


# The connection


def test_test_connection(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/customers", json={"customers": [JOHN]})
    assert spread.test_connection() == (True, "Connected to SPREAD")
    assert dict(query(requests_mock.last_request)) == {"startAt": "0", "maxResults": "1", "maxResult": "1"}
    requests_mock.get(f"{BASE}/customers", status_code=401, text="Unauthorized")
    works, sentence = spread.test_connection()
    assert not works
    assert "401: Unauthorized. Check the credentials of connection 'spread_default'" in sentence
