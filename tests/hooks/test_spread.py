"""SPREAD's calls as its pages print them, and its answers in all the shapes they may come in."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
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

BASE = "https://social-sb.com/api/v2"
JOHN = {"id": "123456", "email": "email-example@gmail.com", "tags": ["tag1"], "cagnotteAmount": "99"}
UTC_NOON = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)


def query(request: Any) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(request.url).query, keep_blank_values=True)


def page(**query: str) -> str:
    return "&".join(f"{name}={value}" for name, value in query.items())


class List:
    """Serves rows in pages, as the vendor documents it, and notes what it was asked for."""

    def __init__(self, rows: list[dict[str, Any]], wrap: Any, cap: int = 5000) -> None:
        self.rows, self.wrap, self.cap = rows, wrap, cap
        self.queries: list[list[tuple[str, str]]] = []

    def __call__(self, request: Any, context: Any) -> dict[str, Any]:
        self.queries.append(query(request))
        asked = dict(self.queries[-1])
        start, size = int(asked.get("startAt", 0)), int(asked.get("maxResults", 10))
        rows = self.rows[start : start + min(size, self.cap)]
        # Both lie: there is no next page at this address, and the count is not the total.
        return {**self.wrap(rows), "count": len(rows), "nextPageUrl": "http:evil.example/customers?startAt=2"}


def customers(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"customers": rows}


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


# Lists


@pytest.mark.parametrize("cap", [1, 3, 7, 5000])
def test_iter_customers_reads_to_the_end(spread: Any, requests_mock: Any, cap: int) -> None:
    served = List([{"id": str(number)} for number in range(7)], customers, cap=cap)
    requests_mock.get(f"{BASE}/customers", json=served)
    assert [row["id"] for row in spread.iter_customers()] == [str(number) for number in range(7)]
    assert served.queries[0] == [("startAt", "0"), ("maxResults", "5000"), ("maxResult", "5000")]
    assert dict(served.queries[-1])["startAt"] == "7"
    assert len(served.queries) == -(-7 // min(cap, 5000)) + 1


def test_all_filters_of_customers(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/customers", json={"customers": []})
    filters = {
        "created_after": dt.datetime(2024, 1, 2, 3, 4, 5, 678),
        "created_before": UTC_NOON,
        "modified_after": "2024-01-01T00:00:00+00:00",
        "modified_before": dt.date(2024, 2, 29),
        "email": "a+b@example.com",
        "last_name": "D'Été & fils",
        "first_name": "Zoé",
        "zipcode": "02100",
        "city": "Saint-Étienne",
        "country": "FR",
        "phone_number": "+33 1",
        "mobile_phone_number": 600000000,
        "case_insensitive": True,
        "show_custom_fields": False,
        "external_id": 7,
    }
    assert list(spread.iter_customers(page_size=10, **filters)) == []
    assert query(requests_mock.last_request) == [
        ("createdAfter", "2024-01-02 03:04:05"),
        ("createBefore", "2024-07-01 14:00:00"),
        ("modifiedAfter", "2024-01-01T00:00:00+00:00"),
        ("modifiedBefore", "2024-02-29"),
        ("email", "a+b@example.com"),
        ("lastName", "D'Été & fils"),
        ("firstName", "Zoé"),
        ("zipcode", "02100"),
        ("city", "Saint-Étienne"),
        ("country", "FR"),
        ("phoneNumber", "+33 1"),
        ("mobilePhoneNumber", "600000000"),
        ("caseInsensitive", "1"),
        ("showCustomFields", "0"),
        ("externalId", "7"),
        ("startAt", "0"),
        ("maxResults", "10"),
        ("maxResult", "10"),
    ]


def test_filters_that_are_none_are_not_sent(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/customers", json={"customers": []})
    assert list(spread.iter_customers(email=None, ids=None)) == []
    assert [name for name, _ in query(requests_mock.last_request)] == ["startAt", "maxResults", "maxResult"]


LISTS = {
    "customers": lambda hook, **filters: hook.iter_customers(**filters),
    "customer consents": lambda hook, **filters: hook.iter_customer_consents("1", **filters),
    "consents": lambda hook, **filters: hook.iter_consents(consent_id=9874, **filters),
    "loyalty": lambda hook, **filters: hook.iter_loyalty_lines(**filters),
}
each_list = pytest.mark.parametrize("read", LISTS.values(), ids=LISTS)


@each_list
@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ({"create_before": "2024-01-01"}, r"Unknown filter\(s\) create_before; allowed are created_after, "),
        ({"created_after": ""}, "created_after is empty"),
        ({"created_after": ["2024-01-01"]}, "created_after: a value of type list"),
        ({"created_after": float("nan")}, "not a number"),
        ({"page_size": 0}, "from 1 to 5000"),
        ({"page_size": 5001}, "from 1 to 5000"),
        ({"page_size": True}, "from 1 to 5000"),
        ({"page_size": "100"}, "from 1 to 5000"),
    ],
)
def test_bad_filters_are_said_at_the_call(
    spread: Any, requests_mock: Any, read: Any, filters: Any, problem: str
) -> None:
    with pytest.raises(CrmInputError, match=problem):
        read(spread, **filters)
    assert not requests_mock.called


def test_a_filter_under_two_names(spread: Any) -> None:
    with pytest.raises(CrmInputError, match="given twice"):
        spread.iter_customer_consents("1", status="accepted", customer_consent_status="refused")


EMPTY_LISTS = [None, "", [], False, {}]


@pytest.mark.parametrize("nothing", EMPTY_LISTS)
def test_lists_of_nothing(spread: Any, requests_mock: Any, nothing: Any) -> None:
    requests_mock.get(f"{BASE}/customers", json={"customers": nothing})
    requests_mock.get(f"{BASE}/cagnottes", json={"cagnottes": nothing})
    requests_mock.get(f"{BASE}/consents", json={"consents": nothing})
    for answer in (nothing, {"id": "1", "consents": nothing, "customers": nothing}):
        requests_mock.get(f"{BASE}/customers-consents/1", json={"customer": answer})
        requests_mock.get(f"{BASE}/customers-consents", json={"consent": answer})
        assert list(spread.iter_customer_consents("1")) == []
        assert list(spread.iter_consents(consent_id=1)) == []
    assert list(spread.iter_customers()) == []
    assert list(spread.iter_loyalty_lines()) == []
    assert list(spread.iter_consent_definitions()) == []


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "<html>",
        "null",
        "[]",
        "{}",
        '{"customers": [',
        '{"customers": 5}',
        '{"customers": [1]}',
        '{"customers": [null]}',
        '{"customers": {"id": "1"}}',
    ],
)
def test_lists_of_another_shape_are_no_end(spread: Any, requests_mock: Any, answer: str) -> None:
    requests_mock.get(f"{BASE}/customers", text=answer)
    with pytest.raises(CrmUnreadableAnswerError):
        list(spread.iter_customers())


def test_a_list_is_not_cut_short_by_a_refusal(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/customers?startAt=0", json={"customers": [{"id": "1"}]})
    requests_mock.get(f"{BASE}/customers?startAt=1", json={"message": "Too many"})
    rows = spread.iter_customers()
    assert next(rows)["id"] == "1"
    with pytest.raises(CrmRequestError, match="Too many"):
        next(rows)


def test_a_map_in_place_of_a_list(spread: Any, requests_mock: Any) -> None:
    rows = {"0": {"id": 1, "tags": ""}, "2": {"id": "2", "tags": "a|b"}}
    requests_mock.get(f"{BASE}/customers", json={"customers": rows})
    requests_mock.get(f"{BASE}/customers?startAt=2", json={"customers": []})
    assert list(spread.iter_customers()) == [{"id": "1", "tags": []}, {"id": "2", "tags": ["a", "b"]}]


def test_a_list_that_ignores_the_offset(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/cagnottes", json={"cagnottes": [{"cagnotteLineId": "1"}]})
    with pytest.raises(CrmUnreadableAnswerError, match="ignores the offset"):
        list(spread.iter_loyalty_lines())


def test_a_404_behind_the_end_of_a_list(spread: Any, requests_mock: Any) -> None:
    def behind(*starts: int) -> None:
        rows = [{"id": "1"}, {"id": "2"}, {"id": "3"}]
        requests_mock.get(f"{BASE}/customers", status_code=404, json={"error": "Nothing found"})
        for start in starts:
            requests_mock.get(
                f"{BASE}/customers?startAt={start}", json={"customers": rows[start : start + 2]}
            )

    behind(0, 1, 2)
    assert [row["id"] for row in spread.iter_customers()] == ["1", "2", "3"]
    behind(0, 1)  # the third customer is there, as the place before shows
    with pytest.raises(CrmNotFoundError):
        list(spread.iter_customers())
    behind()
    with pytest.raises(CrmNotFoundError):
        list(spread.iter_customers())


# Customers by their ids


class Customers:
    """Serves those of its customers whose ids are asked for."""

    def __init__(self, ids: list[str], cap: int = 5000, longest: int = 10**6) -> None:
        self.ids, self.cap, self.longest = ids, cap, longest
        self.calls = 0
        self.refused = 0

    def __call__(self, request: Any, context: Any) -> dict[str, Any]:
        self.calls += 1
        if len(request.url) > self.longest:
            self.refused += 1
            context.status_code = 414
            return {"error": "URI too long"}
        asked = dict(query(request))
        wanted = set(asked["ids"].split(","))
        found = [number for number in self.ids if number in wanted]
        start = int(asked["startAt"])
        return {"customers": [{"id": number} for number in found[start : start + self.cap]]}


@pytest.mark.parametrize("cap", [60, 5000])
@pytest.mark.parametrize("longest", [300, 4000, 10**6])
def test_any_number_of_ids(spread: Any, requests_mock: Any, cap: int, longest: int) -> None:
    known = [str(number) for number in range(100_000, 101_000)]
    served = Customers(known, cap=cap, longest=longest)
    requests_mock.get(f"{BASE}/customers", json=served)
    asked = [*known[:500], "999999", *known[500:]]
    found = [row["id"] for row in spread.iter_customers(ids=asked, case_insensitive=True)]
    assert found == known
    refused = served.refused
    list(spread.iter_customers(ids=asked))
    assert served.refused == refused


def test_ids_of_which_some_go_away_meanwhile(spread: Any, requests_mock: Any) -> None:
    served = Customers(list("123456"), cap=2)

    def disturbed(request: Any, context: Any) -> dict[str, Any]:
        page = served(request, context)
        served.ids = [number for number in served.ids if number not in ("1", "3")]
        return page

    requests_mock.get(f"{BASE}/customers", json=disturbed)
    assert [row["id"] for row in spread.iter_customers(ids="1,2,3,4,5,6")] == ["1", "2", "4", "5", "6"]


@pytest.mark.parametrize("ids", ["1, 2,,3,1", ["1", 2, " 3 "], ["1,2", "3"], iter((1, 2, 3))])
def test_ids_as_they_come(spread: Any, requests_mock: Any, ids: Any) -> None:
    served = Customers(["1", "2", "3"])
    requests_mock.get(f"{BASE}/customers", json=served)
    assert [row["id"] for row in spread.iter_customers(ids=ids)] == ["1", "2", "3"]
    assert dict(query(requests_mock.last_request))["ids"] == "1,2,3"
    # All are found: there can be no further page.
    assert served.calls == 1


@pytest.mark.parametrize("ids", ["", " , ", [], [""]])
def test_no_ids_are_no_customers_rather_than_all(spread: Any, requests_mock: Any, ids: Any) -> None:
    assert list(spread.iter_customers(ids=ids)) == []
    assert not requests_mock.called


def test_a_server_that_ignores_the_ids(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/customers", json={"customers": [{"id": "1"}, {"id": "2"}, {"id": "3"}]})
    with pytest.raises(CrmUnreadableAnswerError, match="ignores the filter `ids`"):
        list(spread.iter_customers(ids=["1", "2"]))


# Writing customers


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


# Consents


def test_iter_customer_consents(spread: Any, requests_mock: Any) -> None:
    row = {
        "consentId": "9876",
        "trackId": "1000",
        "consentTechName": "NewsEmail",
        "customerConsentCreatedAt": "2018-06-11 13:03:05",
        "customerConsentStatus": "accepted",
        "customerConsentSource": "campaignParticipation",
        "customerConsentSourceId": "65745",
    }
    served = List([row], lambda rows: {"customer": {"id": "123456", "consents": rows}})
    requests_mock.get(f"{BASE}/customers-consents/123456", json=served)
    filters = {
        "created_after": UTC_NOON,
        "created_before": "2025-01-01 00:00:00",
        "status": "accepted",
        "source": "upstreamAPIv2POST",
        "consent_id": 9876,
        "consent_tech_name": "J'accepte d'être contacté",
    }
    assert list(spread.iter_customer_consents("123456", page_size=100, **filters)) == [row]
    assert served.queries[0] == [
        ("createdAfter", "2024-07-01 14:00:00"),
        ("createBefore", "2025-01-01 00:00:00"),
        ("customerConsentStatus", "accepted"),
        ("customerConsentSource", "upstreamAPIv2POST"),
        ("consentId", "9876"),
        ("consentTechName", "J'accepte d'être contacté"),
        ("startAt", "0"),
        ("maxResult", "100"),
        ("maxResults", "100"),
    ]
    assert "J%27accepte%20d%27%C3%AAtre%20contact%C3%A9" in requests_mock.last_request.url


def test_iter_consents(spread: Any, requests_mock: Any) -> None:
    rows = [
        {"id": number, "trackId": f"{number}00", "customerConsentStatus": "refused"} for number in range(1, 6)
    ]
    served = List(
        rows, lambda part: {"consent": {"id": 9874, "consentTechName": "NewsSMS", "customers": part}}, cap=2
    )
    requests_mock.get(f"{BASE}/customers-consents", json=served)
    found = list(spread.iter_consents(consent_id=9874, consent_source="unifiedMessaging"))
    assert [row["id"] for row in found] == ["1", "2", "3", "4", "5"]
    assert found[0] == {
        "id": "1",
        "trackId": "100",
        "customerConsentStatus": "refused",
        "consentId": "9874",
        "consentTechName": "NewsSMS",
    }
    assert served.queries[0] == [
        ("consentId", "9874"),
        ("customerConsentSource", "unifiedMessaging"),
        ("startAt", "0"),
        ("maxResult", "5000"),
        ("maxResults", "5000"),
    ]


def test_iter_consents_by_name(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/customers-consents", json={"consent": []})
    assert list(spread.iter_consents(consent_tech_name="C'est oui & plus")) == []
    assert query(requests_mock.last_request)[0] == ("consentTechName", "C'est oui & plus")


def test_iter_consents_by_track_id_is_one_page(spread: Any, requests_mock: Any) -> None:
    answer = {
        "consent": {"id": "9874", "consentTechName": "News", "customers": [{"id": "1", "trackId": "7"}]}
    }
    requests_mock.get(f"{BASE}/customers-consents", json=answer)
    assert list(spread.iter_consents(track_id=7)) == [
        {"id": "1", "trackId": "7", "consentId": "9874", "consentTechName": "News"}
    ]
    assert query(requests_mock.last_request) == [("trackId", "7")]
    assert requests_mock.call_count == 1


def test_the_answers_to_another_consent(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/customers-consents", json={"consent": {"id": "1", "customers": [{"id": "5"}]}})
    with pytest.raises(CrmUnreadableAnswerError, match="another consent"):
        list(spread.iter_consents(consent_id=2))


@pytest.mark.parametrize(
    "which",
    [
        {},
        {"consent_id": 1, "consent_tech_name": "a"},
        {"consent_id": 1, "track_id": 2},
        {"consent_id": ""},
        {"track_id": 1, "status": "accepted"},
    ],
)
def test_iter_consents_of_what(spread: Any, requests_mock: Any, which: Any) -> None:
    with pytest.raises(CrmInputError):
        spread.iter_consents(**which)
    assert not requests_mock.called


def test_create_consent(spread: Any, requests_mock: Any) -> None:
    answer = {
        "id": 9876,
        "techName": "NewsEmail",
        "customer": {"id": 123456, "trackId": 1000, "customerConsentStatus": "accepted"},
    }
    requests_mock.post(f"{BASE}/customers-consents/123456", json={"consent": answer})
    consent = spread.create_consent(
        123456,
        status="accepted",
        created_at=UTC_NOON,
        consent_id="9876",
        consent_tech_name="NewsEmail",
        ip="1.1.1.1",
        channel_id=5,
    )
    assert consent == {
        "id": "9876",
        "techName": "NewsEmail",
        "customer": {"id": "123456", "trackId": "1000", "customerConsentStatus": "accepted"},
    }
    assert requests_mock.last_request.json() == {
        "consent": {
            "id": 9876,
            "consentId": 9876,
            "techName": "NewsEmail",
            "consentTechName": "NewsEmail",
            "createdAt": "2024-07-01 14:00:00",
            "customerConsentStatus": "accepted",
            "ip": "1.1.1.1",
            "channelId": 5,
        }
    }


def test_create_consent_with_the_least(spread: Any, requests_mock: Any) -> None:
    requests_mock.post(f"{BASE}/customers-consents/1", json={"consent": {"id": 1}})
    spread.create_consent("1", status="refused", created_at=" 2024-01-02 03:04:05 ", consent_tech_name="News")
    assert requests_mock.last_request.json() == {
        "consent": {
            "techName": "News",
            "consentTechName": "News",
            "createdAt": "2024-01-02 03:04:05",
            "customerConsentStatus": "refused",
        }
    }


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": "toBeConfirmed"}, "status"),
        ({"status": "Accepted"}, "status"),
        ({"created_at": None}, "created_at"),
        ({"created_at": " "}, "created_at"),
        ({"consent_id": None}, "consent_id"),
        ({"consent_id": " "}, "consent_id"),
    ],
)
def test_create_consent_of_what(spread: Any, requests_mock: Any, change: Any, problem: str) -> None:
    parts = {"status": "accepted", "created_at": "2024-01-01", "consent_id": 1, **change}
    with pytest.raises(CrmInputError, match=problem):
        spread.create_consent("1", **parts)
    assert not requests_mock.called


def test_get_consent(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/consents/9", json={"consent": {"id": 9, "consentTechName": "News"}})
    assert spread.get_consent(9) == {"id": "9", "consentTechName": "News"}
    requests_mock.get(f"{BASE}/consents/8", status_code=404)
    assert spread.get_consent(8) is None


@pytest.mark.parametrize(
    "which", [{"consent_id": "9876"}, {"consent_tech_name": "NewsEmail"}, {"customer_id": "1"}], ids=str
)
def test_a_404_in_place_of_no_answers(spread: Any, requests_mock: Any, which: dict[str, str]) -> None:
    """Which of the two it means, nothing yet or nothing there, is asked."""
    requests_mock.get(f"{BASE}/customers-consents", status_code=404)
    requests_mock.get(f"{BASE}/customers-consents/1", status_code=404)
    read = spread.iter_customer_consents if "customer_id" in which else spread.iter_consents
    consent = {"id": "9876", "consentTechName": "NewsEmail"}
    requests_mock.get(f"{BASE}/consents", json={"consents": [consent]})
    requests_mock.get(f"{BASE}/consents/9876", json={"consent": consent})
    requests_mock.get(f"{BASE}/customers/1", json={"customer": {"id": "1"}})
    assert list(read(**which)) == []
    requests_mock.get(f"{BASE}/consents", json={"consents": []})
    requests_mock.get(f"{BASE}/consents/9876", status_code=404)
    requests_mock.get(f"{BASE}/customers/1", status_code=404)
    with pytest.raises(CrmNotFoundError):
        list(read(**which))


@pytest.mark.parametrize("ignores_the_offset", [False, True])
def test_iter_consent_definitions(spread: Any, requests_mock: Any, ignores_the_offset: bool) -> None:
    rows = [{"id": "9875"}, {"id": "9874"}]
    requests_mock.get(f"{BASE}/consents", json={"consents": rows})
    if not ignores_the_offset:
        requests_mock.get(f"{BASE}/consents?startAt=2", json={"consents": []})
    assert list(spread.iter_consent_definitions()) == rows


# Loyalty


def test_iter_loyalty_lines(spread: Any, requests_mock: Any) -> None:
    line = {"cagnotteLineId": 535756, "customerId": 15130125, "campaignId": None, "amount": -20, "code": ""}
    served = List([line], lambda rows: {"cagnottes": rows})
    requests_mock.get(f"{BASE}/cagnottes", json=served)
    filters = {
        "created_after": "a",
        "created_before": "b",
        "modified_after": "c",
        "modified_before": "d",
        "customer_id": 1,
        "cagnotte_id": "2",
        "campaign_id": "3",
        "min_amount": Decimal("1E+2"),
        "max_amount": 0.1,
        "amount": Decimal("12.50"),
    }
    assert list(spread.iter_loyalty_lines(**filters)) == [
        {
            "cagnotteLineId": "535756",
            "customerId": "15130125",
            "campaignId": None,
            "amount": "-20",
            "code": "",
        }
    ]
    assert served.queries[0] == [
        ("createdAfter", "a"),
        ("createBefore", "b"),
        ("modifiedAfter", "c"),
        ("modifiedBefore", "d"),
        ("customerId", "1"),
        ("cagnotteId", "2"),
        ("campaignId", "3"),
        ("minAmount", "100"),
        ("maxAmount", "0.1"),
        ("amount", "12.50"),
        ("startAt", "0"),
        ("maxResult", "5000"),
        ("maxResults", "5000"),
    ]


CREDITED = (
    '{"customer": {"id": 123456, "cagnotteAmount": 15.10}, '
    '"cagnotte": {"cagnotteLineId": 146964, "campaignId": null, "amount": 5.00, "code": ""}}'
)


def test_credit_loyalty(spread: Any, requests_mock: Any) -> None:
    requests_mock.post(f"{BASE}/cagnottes", text=CREDITED)
    assert spread.credit_loyalty(amount="5", email=" a@b.fr ") == {
        "customer": {"id": "123456", "cagnotteAmount": "15.10"},
        "cagnotte": {"cagnotteLineId": "146964", "campaignId": None, "amount": "5.00", "code": ""},
    }
    assert requests_mock.last_request.text == '{"customer":{"email":"a@b.fr"},"cagnotte":{"amount":5}}'
    spread.credit_loyalty(amount=5, customer_id=123456)
    assert requests_mock.last_request.text == '{"customer":{"customerId":"123456"},"cagnotte":{"amount":5}}'


@pytest.mark.parametrize(
    ("amount", "sent"),
    [
        (Decimal("0.10"), "0.10"),
        (Decimal("123456789012345678901234567890.12"), "123456789012345678901234567890.12"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-20"), "-20"),
        (0.1, "0.1"),
        (" 12.5 ", "12.5"),
        ("+7", "7"),
        (".5", "0.5"),
        ("5.", "5"),
        ("007", "7"),
        ("1e2", "100"),
        ("-0", "0"),
    ],
)
def test_amounts_arrive_as_they_are(spread: Any, requests_mock: Any, amount: Any, sent: str) -> None:
    requests_mock.post(f"{BASE}/cagnottes", text=CREDITED)
    spread.credit_loyalty(amount=amount, email="a@b.fr")
    assert f'"amount":{sent}}}' in requests_mock.last_request.text
    assert json.loads(requests_mock.last_request.text, parse_float=Decimal, parse_int=Decimal)["cagnotte"][
        "amount"
    ] == Decimal(str(amount).strip())


@pytest.mark.parametrize(
    "amount",
    [
        Decimal("NaN"),
        Decimal("Infinity"),
        float("nan"),
        float("-inf"),
        "",
        "five",
        "1,5",
        "1_000",
        "٣",
        "0x10",
        "1e1000000",
        '5},"x":{"y":1',
        None,
        True,
        [5],
    ],
)
def test_amounts_that_are_none(spread: Any, requests_mock: Any, amount: Any) -> None:
    with pytest.raises(CrmInputError, match="number"):
        spread.credit_loyalty(amount=amount, email="a@b.fr")
    assert not requests_mock.called


@pytest.mark.parametrize("who", [{}, {"email": "a@b.fr", "customer_id": 1}, {"email": "  "}, {"email": ""}])
def test_credit_whom(spread: Any, requests_mock: Any, who: Any) -> None:
    with pytest.raises(CrmInputError, match="Exactly one"):
        spread.credit_loyalty(amount=1, **who)
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
