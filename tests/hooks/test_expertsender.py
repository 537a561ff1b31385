"""ExpertSender CDP's calls as its pages print them, and which of them may be sent twice."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from airflow_provider_crm.exceptions import (
    CrmInputError,
    CrmNotFoundError,
    CrmOutcomeUnknownError,
    CrmRequestError,
    CrmUnreadableAnswerError,
)

BASE = "https://api.ecdp.app"
ADAM = {"email": "adam@poczta.pl", "crmId": "57", "totalSpent": 12.5}
PROBLEM = {"type": "string", "title": "Bad", "status": 400, "detail": "Nie.", "instance": "string"}


def consents(*values: str) -> dict[str, Any]:
    return {"consents": [{"id": number, "value": value} for number, value in enumerate(values)]}


# Reading


@pytest.mark.parametrize(
    ("by", "value", "path"),
    [
        ("id", 12, "/customers/id/12"),
        ("email", "adam+x@poczta.pl", "/customers/email/adam%2Bx%40poczta.pl"),
        ("phone", "+48 123", "/customers/phone/%2B48123"),
        ("crmId", "a/b", "/customers/crmId/a%2Fb"),
    ],
)
def test_get_customer(expertsender: Any, requests_mock: Any, by: Any, value: Any, path: str) -> None:
    requests_mock.get(BASE + path, json={"status": 0, "data": ADAM})
    assert expertsender.get_customer(value, by=by) == ADAM
    assert requests_mock.last_request.url == BASE + path
    assert requests_mock.last_request.headers["x-api-key"] == "api-key"


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 404, "json": PROBLEM},
        {"status_code": 404},
        {"json": {"status": 0, "data": None}},
        {"json": {"status": 0, "data": {}}},
    ],
)
def test_a_customer_that_is_absent(expertsender: Any, requests_mock: Any, answer: Any) -> None:
    requests_mock.get(f"{BASE}/customers/email/a%40b.pl", **answer)
    assert expertsender.get_customer("a@b.pl") is None


@pytest.mark.parametrize("answer", ["[]", "null", "{}", '{"status": 0}', '{"data": [1]}', "<html>", ""])
def test_an_answer_of_another_shape(expertsender: Any, requests_mock: Any, answer: str) -> None:
    requests_mock.get(f"{BASE}/customers/id/1", text=answer)
    with pytest.raises(CrmUnreadableAnswerError):
        expertsender.get_customer(1, by="id")


@pytest.mark.parametrize(
    "answer",
    [PROBLEM, {"status": 7, "data": None, "errors": ["Nie."]}, {"data": {}, "errors": {"x": ["Nie."]}}],
)
def test_a_refusal_with_status_200(expertsender: Any, requests_mock: Any, answer: Any) -> None:
    requests_mock.get(f"{BASE}/customers/id/1", json=answer)
    with pytest.raises(CrmRequestError, match=r"ExpertSender refused the call: (x: )?Nie\."):
        expertsender.get_customer(1, by="id")


@pytest.mark.parametrize("by", ["crm", "guid", None])
def test_by_what(expertsender: Any, requests_mock: Any, by: Any) -> None:
    with pytest.raises(CrmInputError, match="`by` is one of 'id', 'email', 'phone', 'crmId'"):
        expertsender.get_customer("1", by=by)
    with pytest.raises(CrmInputError, match="`by` is one of"):
        expertsender.delete_customer("1", by=by)
    assert not requests_mock.called


@pytest.mark.parametrize("value", ["", " ", "..", None])
def test_a_customer_without_a_name(expertsender: Any, requests_mock: Any, value: Any) -> None:
    with pytest.raises(CrmInputError):
        expertsender.delete_customer(value)
    assert not requests_mock.called


@pytest.mark.parametrize(
    ("method", "path"), [("list_consents", "/customerconsents"), ("list_attributes", "/customerattributes")]
)
def test_dictionaries(expertsender: Any, requests_mock: Any, method: str, path: str) -> None:
    rows = [{"id": 1, "name": "Newsletter", "type": "Email"}]
    requests_mock.get(BASE + path, json={"status": 0, "data": rows})
    assert getattr(expertsender, method)() == rows
    requests_mock.get(BASE + path, json={"status": 0, "data": None})
    assert getattr(expertsender, method)() == []
    requests_mock.get(BASE + path, json={"status": 0, "data": {"id": 1}})
    with pytest.raises(CrmUnreadableAnswerError):
        getattr(expertsender, method)()


def test_test_connection(expertsender: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/customerconsents", json={"status": 0, "data": [{"id": 1}]})
    works, sentence = expertsender.test_connection()
    assert (works, sentence) == (True, "Connected to ExpertSender CDP, whose account has 1 consents")
    requests_mock.get(f"{BASE}/customerconsents", status_code=403, json=PROBLEM)
    works, sentence = expertsender.test_connection()
    assert not works
    assert "403: Nie. Check the credentials" in sentence


# Writing


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 201},
        {"status_code": 201, "text": "  "},
        {"status_code": 200, "json": {"status": 0}},
        {"status_code": 201, "json": {"status": 0, "data": [1], "errors": []}},
        {"status_code": 202, "json": None},
        {"status_code": 200, "json": {"errors": None}},
    ],
)
def test_upsert_customers(expertsender: Any, requests_mock: Any, answer: Any) -> None:
    requests_mock.post(f"{BASE}/customers", **answer)
    customers = [
        {
            "email": "a@b.pl",
            "crmId": 57,
            "phone": None,
            "dateOfBirth": dt.date(1990, 2, 3),
            "customAttributes": [{"name": "Size", "value": 42}],
            "consentsData": {"consents": [{"id": 1, "value": True}], "force": False},
        }
    ]
    assert expertsender.upsert_customers(customers, mode="Update", match_by="CrmId") is None
    assert requests_mock.last_request.json() == {
        "mode": "Update",
        "matchBy": "CrmId",
        "data": [
            {
                "email": "a@b.pl",
                "crmId": "57",
                "phone": None,
                "dateOfBirth": "1990-02-03T00:00:00.000Z",
                "customAttributes": [{"name": "Size", "value": "42"}],
                "consentsData": {"consents": [{"id": 1, "value": "True"}], "force": False},
            }
        ],
    }


@pytest.mark.parametrize("status", [200, 201, 400, 422])
@pytest.mark.parametrize(
    ("errors", "told"),
    [
        (["one", "two"], ("one", "two")),
        ({"data[0].email": ["bad", "long"], "phone": ["bad"]}, None),
        ("one", ("one",)),
    ],
)
def test_the_vendors_errors(
    expertsender: Any, requests_mock: Any, status: int, errors: Any, told: tuple[str, ...] | None
) -> None:
    requests_mock.post(f"{BASE}/customers", status_code=status, json={**PROBLEM, "errors": errors})
    with pytest.raises(CrmRequestError) as caught:
        expertsender.upsert_customers([{"email": "a@b.pl"}])
    assert caught.value.errors == (told or ("data[0].email: bad", "data[0].email: long", "phone: bad"))
    assert requests_mock.call_count == 1


@pytest.mark.parametrize(
    ("mode", "customer", "repeatable"),
    [
        ("AddOrUpdate", {}, True),
        ("Update", {}, True),
        ("AddOrUpdate", {"consentsData": None}, True),
        ("AddOrUpdate", {"consentsData": consents("True", "False")}, True),
        ("Add", {}, False),
        ("Update", {"consentsData": consents("True", "AwaitingConfirmation")}, False),
        ("AddOrUpdate", {"consentsData": consents("awaitingconfirmation ")}, False),
    ],
)
@pytest.mark.parametrize("first", [{"status_code": 502}, {"text": "<html>"}])
def test_what_may_be_sent_twice(
    expertsender: Any, requests_mock: Any, mode: Any, customer: Any, repeatable: bool, first: Any
) -> None:
    requests_mock.post(f"{BASE}/customers", [first, {"status_code": 201}])
    customers = [{"email": "a@b.pl"}, {"email": "c@d.pl", **customer}]
    if repeatable:
        expertsender.upsert_customers(customers, mode=mode)
    else:
        with pytest.raises(CrmOutcomeUnknownError):
            expertsender.upsert_customers(customers, mode=mode)
    assert requests_mock.call_count == 1 + repeatable


@pytest.mark.parametrize(
    "parts",
    [{"mode": "Replace"}, {"match_by": "phone"}, {"mode": None}],
)
def test_modes_and_matching(expertsender: Any, requests_mock: Any, parts: Any) -> None:
    with pytest.raises(CrmInputError, match=f"`{next(iter(parts))}` is one of"):
        expertsender.upsert_customers([{"email": "a@b.pl"}], **parts)
    assert not requests_mock.called


def test_nobody_to_upsert(expertsender: Any, requests_mock: Any) -> None:
    expertsender.upsert_customers([])
    assert not requests_mock.called


# Deleting


@pytest.mark.parametrize(
    ("by", "path"),
    [("id", "/customers/id/7"), ("email", "/customers/email/7"), ("phone", "/customers/phone/7")],
)
def test_delete_customer(expertsender: Any, requests_mock: Any, by: Any, path: str) -> None:
    requests_mock.delete(BASE + path)
    expertsender.delete_customer(7, by=by)
    assert (requests_mock.last_request.url, requests_mock.last_request.body) == (BASE + path, None)


def test_the_segment_of_the_crm_id_is_lower_case_in_a_deletion(expertsender: Any, requests_mock: Any) -> None:
    requests_mock.delete(f"{BASE}/customers/crmid/a%2Fb")
    expertsender.delete_customer("a/b", by="crmId")
    assert requests_mock.last_request.url == f"{BASE}/customers/crmid/a%2Fb"


def test_anonymization_is_asked_for_in_both_places(expertsender: Any, requests_mock: Any) -> None:
    requests_mock.delete(f"{BASE}/customers/id/7")
    expertsender.delete_customer(7, by="id", with_anonymization=True)
    assert requests_mock.last_request.url == f"{BASE}/customers/id/7?withAnonymization=true"
    assert requests_mock.last_request.json() == {"withAnonymization": True}


def test_deleting_someone_absent(expertsender: Any, requests_mock: Any) -> None:
    requests_mock.delete(f"{BASE}/customers/email/a%40b.pl", status_code=404, json=PROBLEM)
    with pytest.raises(CrmNotFoundError):
        expertsender.delete_customer("a@b.pl")


@pytest.mark.parametrize("first", [{"status_code": 504}, {"text": "<html>"}])
def test_deleting_someone_who_went_with_a_lost_answer(
    expertsender: Any, requests_mock: Any, first: Any
) -> None:
    requests_mock.delete(f"{BASE}/customers/email/a%40b.pl", [first, {"status_code": 404}])
    expertsender.delete_customer("a@b.pl")
