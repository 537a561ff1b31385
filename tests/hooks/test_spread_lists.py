"""SPREAD's lists of anything: which filters they take, and where they end, whatever the answers look like."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from requests_mock import ANY

from airflow_provider_crm.exceptions import (
    CrmInputError,
    CrmNotFoundError,
    CrmRequestError,
    CrmUnreadableAnswerError,
)

from .spread_calls import BASE, UTC_NOON, List, query


def customers(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"customers": rows}


@pytest.mark.parametrize("cap", [1, 3, 7, 5000])
def test_iter_customers_reads_to_the_end(spread: Any, requests_mock: Any, cap: int) -> None:
    served = List([{"id": str(number)} for number in range(7)], customers, cap=cap)
    requests_mock.get(f"{BASE}/customers", json=served)
    assert [row["id"] for row in spread.iter_customers()] == [str(number) for number in range(7)]
    assert served.queries[0] == [("startAt", "0"), ("maxResults", "5000"), ("maxResult", "5000")]
    starts = [dict(one)["startAt"] for one in served.queries]
    assert len(starts) == len(set(starts)) == -(-7 // min(cap, 5000)) + 1


@pytest.mark.slow
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
        ({"page_size": 0}, "between 1 and 5000"),
        ({"page_size": 5001}, "between 1 and 5000"),
        ({"page_size": True}, "between 1 and 5000"),
        ({"page_size": "many"}, "between 1 and 5000"),
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


@pytest.mark.sampled
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
    requests_mock.get(f"{BASE}/customers?startAt=1", json={"customers": {"2": rows["2"]}})
    assert list(spread.iter_customers()) == [{"id": "1", "tags": []}, {"id": "2", "tags": ["a", "b"]}]


def test_a_list_that_ignores_the_offset(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/cagnottes", json={"cagnottes": [{"cagnotteLineId": "1"}]})
    with pytest.raises(CrmUnreadableAnswerError, match="ignores the offset"):
        list(spread.iter_loyalty_lines())


@pytest.mark.slow
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


@pytest.mark.parametrize("nothing", [{"json": {"customers": []}}, {"status_code": 404}])
def test_an_empty_page_in_the_middle_hides_nothing(spread: Any, requests_mock: Any, nothing: Any) -> None:
    rows = [{"id": str(number), "tags": []} for number in range(100)]
    requests_mock.get(f"{BASE}/customers", json=List(rows, customers, cap=10))
    for start in (18, 45):
        requests_mock.get(f"{BASE}/customers?startAt={start}", **nothing)
    assert list(spread.iter_customers(page_size=10)) == rows


def test_a_list_of_which_no_more_comes_fails(spread: Any, requests_mock: Any) -> None:
    served = List([{"id": str(number)} for number in range(100)], customers, cap=10)

    def broken(request: Any, context: Any) -> dict[str, Any]:
        page = served(request, context)
        return customers([]) if int(dict(query(request))["startAt"]) > 50 else page

    requests_mock.get(f"{BASE}/customers", json=broken)
    with pytest.raises(CrmUnreadableAnswerError, match="gives no rows from offset"):
        list(spread.iter_customers(page_size=10))


@each_list
def test_rows_that_come_and_go_meanwhile(spread: Any, requests_mock: Any, read: Any) -> None:
    """Each list, read by a hook too, gives what stays once, and none of it twice."""
    keys = {"id": "", "trackId": "", "cagnotteLineId": ""}
    rows = [dict.fromkeys(keys, str(number)) for number in range(40)]
    stay = [row["id"] for row in rows if int(row["id"]) not in (2, 3)]

    def wrap(some: list[dict[str, Any]]) -> dict[str, Any]:
        record = {"id": "9874", "customers": some, "consents": some}
        return {"customers": some, "cagnottes": some, "consent": record, "customer": record}

    served = List(rows, wrap, cap=10)

    def changing(request: Any, context: Any) -> dict[str, Any]:
        page = served(request, context)
        if len(served.queries) == 2:
            del rows[2:4]
        if len(served.queries) == 6:
            rows[:0] = [dict.fromkeys(keys, "100"), dict.fromkeys(keys, "101")]
        return page

    requests_mock.get(ANY, json=changing)
    got = [row["cagnotteLineId"] for row in read(spread, page_size=10)]
    assert len(got) == len(set(got))
    assert set(stay) <= set(got)


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


@pytest.mark.sampled
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
