"""What is written to SPREAD or deleted from it, and what becomes of a write without a clear answer."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_crm.exceptions import (
    CrmInputError,
    CrmNotFoundError,
    CrmOutcomeUnknownError,
    CrmRequestError,
)

from .spread_calls import BASE, JOHN


def test_create_customer(spread: Any, requests_mock: Any) -> None:
    requests_mock.post(f"{BASE}/customers", json={"customer": {**JOHN, "tags": ""}}, status_code=201)
    customer = spread.create_customer(
        {
            "email": " bob@example.com ",
            "birthday": dt.date(1990, 2, 3),
            "isBuyer": True,
            "phone": None,
            "zip": 2100,
            "tags": {"a": 1}.keys(),
            "custom_fields": {1234: True, "1239": ["valeur1", "valeur7"], "1235": Decimal("4.20")},
        }
    )
    assert customer == {**JOHN, "tags": []}
    request = requests_mock.last_request
    assert request.headers["Content-Type"] == "application/json"
    assert request.json() == {
        "customer": {
            "email": "bob@example.com",
            "birthday": "1990-02-03",
            "isBuyer": 1,
            "phone": None,
            "zip": "2100",
            "tags": ["a"],
            "custom_fields": {"1234": "1", "1239": "valeur1|valeur7", "1235": "4.20"},
        }
    }


def test_update_customer(spread: Any, requests_mock: Any) -> None:
    requests_mock.put(f"{BASE}/customers/123456", [{"status_code": 502}, {"json": {"customer": JOHN}}])
    assert spread.update_customer(123456, {"email": "a@b.fr", "city": "Lyon"}) == JOHN
    assert requests_mock.last_request.json() == {"customer": {"email": "a@b.fr", "city": "Lyon"}}
    assert requests_mock.call_count == 2


@pytest.mark.parametrize("customer", [{}, {"email": None}, {"email": "  "}, {"city": "Lyon"}])
def test_writes_want_the_email(spread: Any, requests_mock: Any, customer: Any) -> None:
    with pytest.raises(CrmInputError, match="e-mail"):
        spread.create_customer(customer)
    with pytest.raises(CrmInputError, match="e-mail"):
        spread.update_customer("1", customer)
    assert not requests_mock.called


def test_update_customer_email(spread: Any, requests_mock: Any) -> None:
    requests_mock.put(f"{BASE}/customers/email/update", json={"customer": JOHN})
    assert spread.update_customer_email(" old@a.fr", "new@a.fr ") == JOHN
    assert requests_mock.last_request.json() == {
        "customer": {"old_email": "old@a.fr", "new_email": "new@a.fr"}
    }
    with pytest.raises(CrmInputError):
        spread.update_customer_email("old@a.fr", "")


WRITES = {
    "create": ("POST", "/customers", lambda hook: hook.create_customer({"email": "a@b.fr"})),
    "e-mail": ("PUT", "/customers/email/update", lambda hook: hook.update_customer_email("a@b.fr", "c@d.fr")),
    "consent": (
        "POST",
        "/customers-consents/1",
        lambda hook: hook.create_consent("1", status="accepted", created_at="2024-01-01", consent_id=1),
    ),
    "credit": ("POST", "/cagnottes", lambda hook: hook.credit_loyalty(amount=1, email="a@b.fr")),
}
each_write = pytest.mark.parametrize(("method", "path", "write"), WRITES.values(), ids=WRITES)


@each_write
@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 500},
        {"text": ""},
        {"text": "<html>"},
        {"text": "null"},
        {"json": {"customer": None, "consent": None, "cagnotte": None}},
        {"json": {"customer": {}, "consent": [], "cagnotte": ""}},
        {"json": {"customer": "ok", "consent": "ok", "cagnotte": "ok"}},
        {"json": {"count": 1}},
        # Where the vendor confirms things.
        {"json": {"response": "Done."}},
    ],
)
def test_a_write_without_a_clear_answer_is_not_repeated(
    spread: Any, requests_mock: Any, method: str, path: str, write: Any, answer: Any
) -> None:
    requests_mock.register_uri(method, BASE + path, **answer)
    with pytest.raises(CrmOutcomeUnknownError):
        write(spread)
    assert requests_mock.call_count == 1


@each_write
@pytest.mark.parametrize("more", [{}, {"status_code": 201}, {"status_code": 400}])
def test_a_write_that_is_refused(
    spread: Any, requests_mock: Any, method: str, path: str, write: Any, more: Any
) -> None:
    requests_mock.register_uri(method, BASE + path, json={"error": "Non."}, **more)
    with pytest.raises(CrmRequestError) as caught:
        write(spread)
    assert caught.value.errors == ("Non.",)


@each_write
def test_a_write_asked_to_come_later(
    spread: Any, requests_mock: Any, method: str, path: str, write: Any
) -> None:
    good = {"customer": {"id": "1"}, "consent": {"id": "1"}, "cagnotte": {"amount": "1"}}
    requests_mock.register_uri(method, BASE + path, [{"status_code": 429}, {"json": good}])
    assert write(spread)
    assert requests_mock.call_count == 2


# Deleting


@pytest.mark.parametrize(
    "answer",
    [
        {"json": {"response": "Customer deleted."}},
        {"json": {}},
        {"json": None},
        {"json": {"customer": {"id": "1"}}},
        {"text": "", "status_code": 204},
        {"text": ""},
        {"json": {"response": "Customer deleted.", "errors": []}},
    ],
)
def test_delete_customer(spread: Any, requests_mock: Any, answer: Any) -> None:
    requests_mock.delete(f"{BASE}/customers/1", **answer)
    assert spread.delete_customer(1) is None
    assert requests_mock.last_request.body is None


@pytest.mark.parametrize(
    "answer", [{"error": "Non."}, {"response": "x", "errors": ["Non."]}, {"message": "Non."}]
)
def test_a_deletion_that_is_refused(spread: Any, requests_mock: Any, answer: Any) -> None:
    requests_mock.delete(f"{BASE}/customers/1", json=answer)
    with pytest.raises(CrmRequestError, match="Non"):
        spread.delete_customer(1)


def test_deleting_someone_absent(spread: Any, requests_mock: Any) -> None:
    requests_mock.delete(f"{BASE}/customers/1", status_code=404)
    with pytest.raises(CrmNotFoundError):
        spread.delete_customer(1)


@pytest.mark.parametrize("first", [{"status_code": 504}, {"text": "<html>"}, {"text": "false"}])
def test_deleting_someone_who_went_with_a_lost_answer(spread: Any, requests_mock: Any, first: Any) -> None:
    requests_mock.delete(f"{BASE}/customers/1", [first, {"status_code": 404}])
    spread.delete_customer(1)
