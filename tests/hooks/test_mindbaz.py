"""Mindbaz' calls as its pages print them, and an envelope whose `success` proves little."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from airflow_provider_crm.exceptions import (
    CrmInputError,
    CrmNotFoundError,
    CrmOutcomeUnknownError,
    CrmRequestError,
    CrmUnreadableAnswerError,
)
from airflow_provider_crm.hooks.mindbaz import MindbazHook

BASE = "https://api.mindbaz.com/api/3"
SUBSCRIBERS = f"{BASE}/Subscribers"


def wrapped(data: Any) -> dict[str, Any]:
    return {"json": {"success": True, "data": data, "error": None}}


def subscriber(number: Any, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "fields": [{"idField": int(field[1:]), "value": value} for field, value in fields.items()],
    }


def query(request: Any) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.url).query))


# Looking up


def test_get_subscribers(mindbaz: Any, requests_mock: Any) -> None:
    requests_mock.get(SUBSCRIBERS, **wrapped([subscriber(7, f1="a@b.fr", f7=0), subscriber("8", f0="8")]))
    found = mindbaz.get_subscribers([" a@b.fr", "c+d@b.fr", "a@b.fr "], field_ids=[1, 7])
    assert found == [{"id": 7, "fields": {1: "a@b.fr", 7: 0}}, {"id": 8, "fields": {0: "8"}}]
    assert query(requests_mock.last_request) == {
        "filter.by": "Email",
        "filter.idFields": "1,7",
        "filter.values": "a@b.fr,c+d@b.fr",
    }
    assert requests_mock.last_request.headers["X-API-KEY"] == "api-key"


def test_get_subscribers_by_hash(mindbaz: Any, requests_mock: Any) -> None:
    requests_mock.get(SUBSCRIBERS, **wrapped(None))
    assert mindbaz.get_subscribers(["d41d8cd9"], email_encoding="MD5") == []
    assert query(requests_mock.last_request) == {
        "filter.by": "Email",
        "filter.emailEncoding": "MD5",
        "filter.values": "d41d8cd9",
    }


def test_get_subscribers_by_id(mindbaz: Any, requests_mock: Any) -> None:
    requests_mock.get(SUBSCRIBERS, **wrapped([subscriber(None, f0=5)]))
    assert mindbaz.get_subscribers([5, "6"], by="IdSubscriber") == [{"id": 5, "fields": {0: 5}}]
    assert query(requests_mock.last_request) == {"filter.by": "IdSubscriber", "filter.values": "5,6"}


@pytest.mark.parametrize("longest", [400, 5000, 10**6])
def test_any_number_of_values(mindbaz: Any, requests_mock: Any, longest: int) -> None:
    def answer(request: Any, context: Any) -> dict[str, Any]:
        if len(request.url) > longest:
            context.status_code = 414
            return {}
        emails = query(request)["filter.values"].split(",")
        rows = [subscriber(int(email.split("@")[0]), f1=email) for email in emails]
        return {"success": True, "data": rows}

    requests_mock.get(SUBSCRIBERS, json=answer)
    emails = [f"{number}@example.com" for number in range(1000)]
    found = mindbaz.get_subscribers(emails, field_ids=[1])
    assert [row["id"] for row in found] == list(range(1000))


@pytest.mark.parametrize("value", ["", "  ", "a@b.fr,c@d.fr"])
def test_values_that_cannot_be_looked_up(mindbaz: Any, requests_mock: Any, value: str) -> None:
    with pytest.raises(CrmInputError):
        mindbaz.get_subscribers(["a@b.fr", value])
    assert not requests_mock.called


def test_nobody_to_look_up(mindbaz: Any, requests_mock: Any) -> None:
    assert mindbaz.get_subscribers([]) == []
    assert not requests_mock.called


NOBODY = {"status_code": 404, "json": {"success": False, "data": None, "error": "not found"}}
NO_PAGE = {"status_code": 404, "text": "<html>404</html>"}


@pytest.mark.parametrize("answer", [NOBODY, NO_PAGE])
def test_a_404_is_nobody_where_the_site_is_there(mindbaz: Any, requests_mock: Any, answer: Any) -> None:
    requests_mock.get(SUBSCRIBERS, **answer)
    fields = requests_mock.get(f"{BASE}/fields/list", **wrapped([]))
    assert mindbaz.get_subscribers(["a@b.fr", "c@d.fr"]) == []
    assert mindbaz.get_subscribers(["a@b.fr"]) == []
    assert fields.call_count == 1


@pytest.mark.parametrize("answer", [NOBODY, NO_PAGE])
@pytest.mark.parametrize("status", [403, 404])
def test_a_404_is_an_error_where_no_site_is_known(
    mindbaz: Any, requests_mock: Any, answer: Any, status: int
) -> None:
    requests_mock.get(SUBSCRIBERS, **answer)
    requests_mock.get(f"{BASE}/fields/list", status_code=status)
    with pytest.raises(CrmNotFoundError):
        mindbaz.get_subscribers(["a@b.fr", "c@d.fr"])


def test_a_page_that_is_not_found_for_its_length_is_asked_for_in_parts(
    mindbaz: Any, requests_mock: Any
) -> None:
    def answer(request: Any, context: Any) -> str:
        if len(request.url) > 1000:
            context.status_code = 404
            return "<html>404.15</html>"
        rows = [subscriber(7, f1=email) for email in query(request)["filter.values"].split(",")]
        return json.dumps({"success": True, "data": rows})

    requests_mock.get(SUBSCRIBERS, text=answer)
    emails = [f"{number}@example.com" for number in range(300)]
    assert len(mindbaz.get_subscribers(emails, field_ids=[1])) == 300


# Writing


def test_create_subscribers(mindbaz: Any, requests_mock: Any) -> None:
    requests_mock.post(SUBSCRIBERS, **wrapped([subscriber(9, f1="a@b.fr"), subscriber(-1, f1="bad")]))
    created = mindbaz.create_subscribers(
        [{"fields": {1: "a@b.fr", "14": "é"}}, {"id": 8, "fields": {1: "bad"}}]
    )
    assert [row["id"] for row in created] == [9, -1]
    assert requests_mock.last_request.json() == [
        {"fields": [{"idField": 1, "value": "a@b.fr"}, {"idField": 14, "value": "é"}]},
        {"id": 8, "fields": [{"idField": 1, "value": "bad"}]},
    ]


def test_update_subscribers(mindbaz: Any, requests_mock: Any) -> None:
    requests_mock.put(SUBSCRIBERS, [{"status_code": 503}, wrapped([subscriber(9, f2="x")])])
    assert mindbaz.update_subscribers([{"id": 9, "fields": {2: "x"}}]) == [{"id": 9, "fields": {2: "x"}}]
    assert requests_mock.call_count == 2


def test_a_rejected_subscriber_without_any_id(mindbaz: Any, requests_mock: Any) -> None:
    requests_mock.post(SUBSCRIBERS, **wrapped([{"fields": None}, {"id": "-1"}]))
    assert [row["id"] for row in mindbaz.create_subscribers([{"fields": {}}] * 2)] == [-1, -1]


def test_too_many_at_once(mindbaz: Any, requests_mock: Any) -> None:
    with pytest.raises(CrmInputError, match="5000"):
        mindbaz.create_subscribers([{"fields": {}}] * 5001)
    assert not requests_mock.called


def test_a_number_that_is_none(mindbaz: Any, requests_mock: Any) -> None:
    with pytest.raises(CrmInputError, match="NaN"):
        mindbaz.create_subscribers([{"fields": {14: float("nan"), 15: None}}])
    assert not requests_mock.called


def test_a_creation_without_an_answer_is_not_repeated(mindbaz: Any, requests_mock: Any) -> None:
    requests_mock.post(SUBSCRIBERS, status_code=500)
    with pytest.raises(CrmOutcomeUnknownError):
        mindbaz.create_subscribers([{"fields": {1: "a@b.fr"}}])
    assert requests_mock.call_count == 1


# The envelope


def test_a_refusal_with_status_200(mindbaz: Any, requests_mock: Any) -> None:
    refusal = {"success": False, "data": None, "error": {"message": "Champ 99 inconnu pour bob@b.fr"}}
    requests_mock.post(SUBSCRIBERS, json=refusal)
    with pytest.raises(CrmRequestError, match="Champ 99 inconnu pour <email>") as caught:
        mindbaz.create_subscribers([{"fields": {99: 1}}])
    assert caught.value.reason == "Champ 99 inconnu pour bob@b.fr"
    assert (caught.value.call, caught.value.status) == ("POST /3/Subscribers", 200)


def test_a_refusal_without_a_word(mindbaz: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/fields/list", json={"success": False})
    with pytest.raises(CrmRequestError, match="no reason given"):
        mindbaz.list_fields()


@pytest.mark.parametrize(
    "data",
    [
        "text",
        5,
        {},
        [5],
        [{"id": "x", "fields": []}],
        [{"id": 1, "fields": {"1": "a"}}],
        [{"id": 1, "fields": [{"value": 1}]}],
        [{"id": 1, "fields": [{"idField": "one"}]}],
        [{"id": 1.5}],
    ],
)
def test_subscribers_of_another_shape(mindbaz: Any, requests_mock: Any, data: Any) -> None:
    requests_mock.get(SUBSCRIBERS, **wrapped(data))
    with pytest.raises(CrmUnreadableAnswerError):
        mindbaz.get_subscribers(["a@b.fr"])
    requests_mock.post(SUBSCRIBERS, **wrapped(data))
    with pytest.raises(CrmOutcomeUnknownError):
        mindbaz.create_subscribers([{"fields": {1: "a@b.fr"}}])


@pytest.mark.parametrize("text", ["", "<html>", "[]", "null", '{"data": []}', '{"success": "yes"}', '{"succ'])
def test_no_envelope(mindbaz: Any, requests_mock: Any, text: str) -> None:
    requests_mock.get(f"{BASE}/fields/list", text=text)
    with pytest.raises(CrmUnreadableAnswerError):
        mindbaz.list_fields()


# Fields and the connection


def test_list_fields(mindbaz: Any, requests_mock: Any) -> None:
    fields = [{"id": 14, "name": "fld14", "fieldType": 4, "list": [{"key": 1, "value": "Oui"}]}]
    requests_mock.get(f"{BASE}/fields/list", **wrapped(fields))
    assert mindbaz.list_fields() == fields
    assert mindbaz.test_connection() == (True, "Connected to Mindbaz site 3, which has 1 fields")
    requests_mock.get(f"{BASE}/fields/list", **wrapped(None))
    assert mindbaz.list_fields() == []


@pytest.mark.parametrize("site", [3, "3", " 3 ", "abc"])
def test_the_site_in_the_path(make: Any, requests_mock: Any, site: Any) -> None:
    hook = make(MindbazHook, password="key", extra={"site_id": site})
    requests_mock.get(f"https://api.mindbaz.com/api/{str(site).strip()}/fields/list", **wrapped([]))
    assert hook.list_fields() == []


@pytest.mark.parametrize("site", [None, "", "3/../4", "é?", 0])
def test_no_site(make: Any, requests_mock: Any, site: Any) -> None:
    works, sentence = make(MindbazHook, password="key", extra={"site_id": site}).test_connection()
    assert (works, "site_id" in sentence) == (False, True)
    assert not requests_mock.called
