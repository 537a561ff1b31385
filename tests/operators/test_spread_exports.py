"""SPREAD's exports against the sandbox: the file holds what the CRM holds, or there is none."""

from __future__ import annotations

import csv
import datetime as dt
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pyarrow.parquet
import pytest

from airflow_provider_crm.exceptions import (
    CrmAuthenticationError,
    CrmInputError,
    CrmRejectsError,
    CrmTransientError,
    CrmUnreadableAnswerError,
)
from airflow_provider_crm.hooks import retry
from airflow_provider_crm.operators.spread_exports import (
    SpreadExportConsentsOperator,
    SpreadExportCustomersOperator,
    SpreadExportLoyaltyOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS

UTC = dt.UTC


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(retry._Wait, "_backoff", lambda self, state: 0.001)


@pytest.fixture
def spread(crm_sandbox: Sandbox) -> Iterator[Sandbox]:
    crm_sandbox.switch("spread", zone="Europe/Paris")
    yield crm_sandbox
    for (
        thread
    ) in threading.enumerate():  # a failed export leaves calls under way, which the next test would see
        if thread.name.startswith("spread"):
            thread.join(10)


@pytest.fixture
def few_retries(spread: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    connection = json.loads(spread.connections()["spread_default"])
    connection["extra"] = {**(connection.get("extra") or {}), "max_retries": 1}
    monkeypatch.setenv("AIRFLOW_CONN_SPREAD_DEFAULT", json.dumps(connection))
    return spread


def export(
    operator: Any, path: Path, context: dict[str, Any] | None = None, **parameters: Any
) -> dict[str, Any]:
    task = operator(task_id="export", path=str(path), **parameters)
    summary: dict[str, Any] = task.execute(context or {})
    assert summary["path"] == str(path)
    assert summary["bytes"] == path.stat().st_size
    return summary


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def interval(start: str, end: str) -> dict[str, Any]:
    return {
        "data_interval_start": dt.datetime.fromisoformat(start),
        "data_interval_end": dt.datetime.fromisoformat(end),
    }


def answer(
    sandbox: Sandbox, at: str, *, customer: str | None = None, consent: int = 0, status: str = "accepted"
) -> str:
    """Give an answer at a local time; returns its track id."""

    spread = sandbox.spread
    customer = customer or next(iter(spread.customers))
    return spread.consents.add(customer, DEFINITIONS[consent], status, at, "manualImport").track_id


# Whole files


def test_customers(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(237, ["spread"])
    path = tmp_path / "customers.jsonl"
    summary = export(SpreadExportCustomersOperator, path, page_size=50, show_custom_fields=True, ids=None)
    rows = lines(path)
    assert summary["rows"] == len(rows) == 237
    assert set(summary) == {"rows", "path", "bytes", "requests", "retries", "seconds"}
    for row, customer in zip(rows, spread.spread.customers.values(), strict=True):
        held = msgspec.to_builtins(customer)
        assert row["id"] == held["id"]
        assert row["email"] == held["email"]
        assert row["isBuyer"] is (held["isBuyer"] == "1")
        assert row["actionCount"] == 0
        assert row["birthday"] == held["birthday"]
        assert row["cagnotteAmount"] == held["cagnotteAmount"]
        assert row["tags"] == (held["tags"] or [])
        assert dt.datetime.fromisoformat(row["createdAt"]) == dt.datetime.fromisoformat(held["createdAt"])
        fields = spread.spread.customers.custom_fields.get(customer.id, {})
        assert row["custom_fields"] == {
            number: {"name": "Sport", "value": value} for number, value in fields.items()
        }


def test_all_consents(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(100, ["spread"])
    path = tmp_path / "consents.jsonl"
    export(SpreadExportConsentsOperator, path, consent_id="all", page_size=20)
    held = {event.track_id: event for event in spread.spread.consents.events}
    rows = lines(path)
    assert sorted(row["trackId"] for row in rows) == sorted(held)
    for row in rows:
        event = held[row["trackId"]]
        assert row["id"] == event.customer_id
        assert row["consent_id"] == event.consent.id
        assert row["consent_tech_name"] == event.consent.consent_tech_name
        assert row["customerConsentStatus"] == event.status
        at = dt.datetime.fromisoformat(row["customerConsentCreatedAt"])
        assert at.utcoffset() == dt.timedelta(hours=1)
        assert str(at.replace(tzinfo=None)) == event.created_at


@pytest.mark.parametrize("given", ["9876, 9875", ["9876", 9875], [9875, "9876", "9875"]])
def test_several_consents(spread: Sandbox, tmp_path: Path, given: Any) -> None:
    spread.seed(100, ["spread"])
    path = tmp_path / "consents.csv"
    export(SpreadExportConsentsOperator, path, consent_id=given)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    held = [event.track_id for event in spread.spread.consents.events if event.consent.id in ("9876", "9875")]
    assert sorted(row["trackId"] for row in rows) == sorted(held)


def test_consents_by_technical_name_and_filters(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(100, ["spread"])
    name = "J'accepte d'être contacté occasionnellement par téléphone"
    path = tmp_path / "consents.parquet"
    export(SpreadExportConsentsOperator, path, consent_tech_name=name, status="refused")
    held = [
        event.track_id
        for event in spread.spread.consents.events
        if event.consent.id == "9874" and event.status == "refused"
    ]
    assert held
    assert pyarrow.parquet.read_table(path)["trackId"].to_pylist() == held


def test_consents_of_customers(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(20, ["spread"])
    ids = list(spread.spread.customers)[:10]
    rows = {}
    for name, source in {
        "list": ids,
        "rows": [{"customer_id": one} for one in [*ids, ids[0]]],
        "numbers": [int(one) for one in ids],
    }.items():
        path = tmp_path / f"{name}.jsonl"
        export(SpreadExportConsentsOperator, path, source=source)
        rows[name] = lines(path)
    held = [event for event in spread.spread.consents.events if event.customer_id in ids]
    assert sorted(row["trackId"] for row in rows["list"]) == sorted(event.track_id for event in held)
    assert rows["list"] == rows["rows"] == rows["numbers"]
    assert {(row["id"], row["consent_id"]) for row in rows["list"]} == {
        (event.customer_id, event.consent.id) for event in held
    }


def test_loyalty_lines(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(100, ["spread"])
    path = tmp_path / "lines.parquet"
    export(SpreadExportLoyaltyOperator, path, max_amount=0)
    rows = pyarrow.parquet.read_table(path).to_pylist()
    held = [line for line in spread.spread.loyalty.lines if Decimal(line.amount) < 0]
    assert [row["cagnotteLineId"] for row in rows] == [line.cagnotte_line_id for line in held]
    assert {row["amount"] for row in rows} == {Decimal(-5)}


def test_customers_by_id(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(3000, ["spread"])
    ids = list(spread.spread.customers)[::2]
    path = tmp_path / "customers.jsonl"
    summary = export(SpreadExportCustomersOperator, path, ids=[*ids, "1"])
    assert [row["id"] for row in lines(path)] == ids
    assert summary["requests"] > 1


@pytest.mark.parametrize("habit", ["goes away", "ignores offsets"])
def test_customers_by_id_from_a_server_that_caps_its_pages(
    spread: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, habit: str
) -> None:
    spread.seed(60, ["spread"])
    spread.fault("page_cap", system="spread", limit=10)
    customers = spread.spread.customers
    ids = list(customers)
    gone: list[str] = []
    handle = spread.spread.handle

    def disturbed(call: Any) -> Any:
        if habit == "ignores offsets":
            call.query, call._parameters = re.sub(r"startAt=\d+", "startAt=0", call.query), None
        answered = handle(call)
        if habit == "goes away" and len(gone) < 3:
            gone.append(ids[len(gone)])
            customers.remove(customers[gone[-1]])
        return answered

    monkeypatch.setattr(spread.spread, "handle", disturbed)
    path = tmp_path / "customers.jsonl"
    export(SpreadExportCustomersOperator, path, ids=[*ids, "1"])
    assert sorted(row["id"] for row in lines(path)) == sorted(ids)


def test_one_row_and_a_404_behind_it(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(1, ["spread"])
    spread.fault("answer_before", system="spread", after=1, status=404, body="{}")
    path = tmp_path / "x.jsonl"
    assert export(SpreadExportCustomersOperator, path)["rows"] == 1


def test_raw_rows_are_untouched(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(120, ["spread"])
    path = tmp_path / "raw.jsonl"
    export(SpreadExportCustomersOperator, path, raw=True, page_size=50)
    assert lines(path) == [msgspec.to_builtins(one) for one in spread.spread.customers.values()]


def test_raw_rows_that_are_printed_over_several_lines(spread: Sandbox, tmp_path: Path) -> None:
    page = json.dumps({"customers": [{"id": 1, "x": {"y": [1, 2]}}]}, indent=2)
    spread.fault("answer_before", system="spread", body=page, times=1)
    spread.fault("answer_before", system="spread", body='{"customers": []}')
    path = tmp_path / "raw.jsonl"
    export(SpreadExportCustomersOperator, path, raw=True)
    assert path.read_bytes() == b'{"id":1,"x":{"y":[1,2]}}\n'


def test_two_runs_of_one_window_give_the_same_bytes(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(300, ["spread"])
    for suffix in ("jsonl.gz", "parquet", "csv"):
        one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
        export(SpreadExportCustomersOperator, one, page_size=40)
        export(SpreadExportCustomersOperator, two, page_size=70, concurrency=1)
        assert one.read_bytes() == two.read_bytes() or suffix == "parquet"
        if suffix == "parquet":
            assert pyarrow.parquet.read_table(one) == pyarrow.parquet.read_table(two)


def test_pages_are_read_ahead_but_no_further_than_allowed(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(2000, ["spread"])
    spread.fault("latency", system="spread", ms=30)
    export(SpreadExportCustomersOperator, tmp_path / "x.jsonl", page_size=100)
    assert spread.calls.max_in_flight["spread"] == 4
    spread.calls.clear()
    export(SpreadExportCustomersOperator, tmp_path / "x.jsonl", page_size=100, concurrency=2)
    assert spread.calls.max_in_flight["spread"] == 2


# A server with faults


FAULTS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "5xx": [{"kind": "error_before", "every": 7}],
    "lost answers": [{"kind": "drop_after", "every": 5}, {"kind": "drop_before", "every": 7}],
    "answers cut short": [{"kind": "truncate", "every": 6}],
    "HTML once in a while": [{"kind": "html_before", "every": 6}],
    "rate limit": [{"kind": "rate_limited", "every": 9, "retry_after": 0.01}],
    "small pages": [{"kind": "page_cap", "limit": 700}],
    "next page elsewhere": [{"kind": "next_page_url", "form": "foreign"}],
    "slow": [{"kind": "latency", "ms": 20}],
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_the_file_is_right_whatever_the_server_does(
    spread: Sandbox, tmp_path: Path, name: str, order: str
) -> None:
    spread.seed(5000, ["spread"])
    spread.switch("spread", list_order=order)
    for fault in FAULTS[name]:
        spread.fault(system="spread", **fault)
    path = tmp_path / "customers.jsonl"
    export(SpreadExportCustomersOperator, path, page_size=400)
    ids = [row["id"] for row in lines(path)]
    expected = list(spread.spread.customers)
    assert ids == (expected if order == "oldest_first" else expected[::-1])


@pytest.mark.slow
def test_a_hundred_thousand_rows_with_all_faults_at_once(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(100_000, ["spread"])
    for name, faults in FAULTS.items():
        for fault in faults if name != "slow" else ():
            spread.fault(system="spread", **{**fault, "probability": 0.5})
    path = tmp_path / "customers.jsonl"
    export(SpreadExportCustomersOperator, path, page_size=5000)
    with path.open("rb") as file:
        for line, customer in zip(file, spread.spread.customers.values(), strict=True):
            row, held = msgspec.json.decode(line), msgspec.to_builtins(customer)
            assert {name: row[name] for name in ("id", "email", "lastName", "externalId")} == {
                name: held[name] for name in ("id", "email", "lastName", "externalId")
            }
            assert row["tags"] == (held["tags"] or [])


@pytest.mark.parametrize("order", ["oldest_first", "newest_first", "least_recently_modified"])
def test_rows_that_come_and_go_meanwhile(spread: Sandbox, tmp_path: Path, order: str) -> None:
    spread.seed(3000, ["spread"])
    spread.switch("spread", list_order=order)
    customers = spread.spread.customers
    stays = set(customers)
    calls = iter(range(10**6))
    handle = spread.spread.handle

    def disturbed(call: Any) -> Any:
        number = next(calls)
        if number % 3 == 1:
            gone = customers[list(customers)[number * 7 % len(customers)]]
            stays.discard(gone.id)
            customers.remove(gone)
        return handle(call)

    spread.spread.handle = disturbed  # type: ignore[method-assign]
    try:
        path = tmp_path / "customers.jsonl"
        export(SpreadExportCustomersOperator, path, page_size=200)
    finally:
        del spread.spread.handle  # type: ignore[method-assign]
    ids = [row["id"] for row in lines(path)]
    assert len(ids) == len(set(ids))
    assert stays <= set(ids)


def test_a_page_that_the_server_cannot_give_is_asked_for_in_halves(
    few_retries: Sandbox, tmp_path: Path
) -> None:
    few_retries.seed(1000, ["spread"])
    handle = few_retries.spread.handle

    def weak(call: Any) -> Any:
        from airflow_provider_crm.sandbox.wire import html_answer

        return (
            html_answer(504, "Gateway Timeout") if int(call.parameters["maxResults"]) > 150 else handle(call)
        )

    few_retries.spread.handle = weak  # type: ignore[method-assign]
    try:
        path = tmp_path / "customers.jsonl"
        export(SpreadExportCustomersOperator, path, page_size=500, concurrency=2)
    finally:
        del few_retries.spread.handle  # type: ignore[method-assign]
    assert [row["id"] for row in lines(path)] == list(few_retries.spread.customers)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "html_before"}, CrmUnreadableAnswerError),
        ({"kind": "error_before"}, CrmTransientError),
        ({"kind": "drop_before"}, CrmTransientError),
        ({"kind": "answer_before", "status": 401, "body": "{}"}, CrmAuthenticationError),
    ],
    ids=["html", "5xx", "dropped", "401"],
)
def test_a_server_that_is_down_leaves_the_old_file(
    few_retries: Sandbox, tmp_path: Path, fault: dict[str, Any], error: type[Exception]
) -> None:
    few_retries.seed(1000, ["spread"])
    few_retries.fault(system="spread", after=2, **fault)
    path = tmp_path / "customers.jsonl"
    path.write_text("old")
    with pytest.raises(error):
        export(SpreadExportCustomersOperator, path, page_size=100)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["customers.jsonl"]
    assert len(spread_calls(few_retries)) < 60


def spread_calls(sandbox: Sandbox) -> list[Any]:
    return [call for call in sandbox.calls if call.system == "spread"]


# Rows that are no records


def customer_page(*rows: dict[str, Any]) -> str:
    return json.dumps({"customers": list(rows), "count": len(rows)})


def give(sandbox: Sandbox, *pages: str) -> None:
    for page in pages:
        sandbox.fault("answer_before", system="spread", path="/customers", body=page, times=1)
    sandbox.fault("answer_before", system="spread", path="/customers", body=customer_page())


GOOD = {"id": "1", "email": "a@example.fr", "createdAt": "2018-04-10T14:15:48+0000", "tags": ""}
BAD = {"id": "2", "email": "b@example.fr", "createdAt": "yesterday"}


def test_a_row_that_breaks_the_schema_is_rejected_with_its_reason(spread: Sandbox, tmp_path: Path) -> None:
    give(spread, customer_page(GOOD, BAD, {"email": "without id"}))
    path, rejects = tmp_path / "x.jsonl", tmp_path / "rejects.jsonl"
    with pytest.raises(CrmRejectsError, match="2 of 3 rows") as caught:
        export(SpreadExportCustomersOperator, path, rejects_path=str(rejects))
    assert not path.exists()
    assert "b@example.fr" not in str(caught.value)
    first, second = lines(rejects)
    assert first == {"row": 2, "key": "2", "stage": "validate", "reason": first["reason"], "data": BAD}
    assert "createdAt" in first["reason"]
    assert second["row"] == 3
    assert "id" in second["reason"]


def test_as_many_rows_as_allowed_may_break_the_schema(spread: Sandbox, tmp_path: Path) -> None:
    give(spread, customer_page(GOOD, BAD))
    path = tmp_path / "x.csv"
    assert export(SpreadExportCustomersOperator, path, max_rejects="0.5")["rows"] == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"id": 1}, {"id": "1"}),
        ({"id": "1", "actionCount": 3, "isFan": 1}, {"actionCount": 3, "isFan": True}),
        ({"id": "1", "isFan": "", "birthday": "", "actionCount": ""}, {"isFan": None, "birthday": None}),
        ({"id": "1", "cagnotteAmount": 12.50}, {"cagnotteAmount": "12.5"}),
        ({"id": "1", "birthday": "0000-00-00"}, {"birthday": None}),
        ({"id": "1", "createdAt": "2018-07-10 14:15:48"}, {"createdAt": "2018-07-10T14:15:48+02:00"}),
        ({"id": "1", "lastOrderDt": "2018-07-10 14:15:48"}, {"lastOrderDt": "2018-07-10T14:15:48+02:00"}),
        (
            {"id": "1", "lastOrderDt": "2018-07-10T14:15:48+0000"},
            {"lastOrderDt": "2018-07-10T14:15:48+00:00"},
        ),
        ({"id": "1", "birthday": "1990-02-03T00:00:00+0000"}, {"birthday": "1990-02-03"}),
        ({"id": "1", "tags": "a|b|"}, {"tags": ["a", "b"]}),
        ({"id": "1", "tags": {"0": "a", "2": "b"}}, {"tags": ["a", "b"]}),
        ({"id": "1", "zip": 76000}, {"zip": "76000"}),
        ({"id": "1", "custom_fields": []}, {"custom_fields": {}}),
        (
            {"id": "1", "custom_fields": {"5": "A:b:c"}},
            {"custom_fields": {"5": {"name": "A", "value": "b:c"}}},
        ),
        ({"id": "1", "loyaltyLevel": 1.10}, {"loyaltyLevel": 1.10}),
        ({"id": "1", "lastName": "null"}, {"lastName": "null"}),
    ],
    ids=str,
)
def test_quirks_are_mended(
    spread: Sandbox, tmp_path: Path, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    give(spread, customer_page(given))
    path = tmp_path / "x.jsonl"
    export(SpreadExportCustomersOperator, path)
    [row] = lines(path)
    assert {name: row[name] for name in expected} == expected
    assert row["tags"] == expected.get("tags", [])


@pytest.mark.parametrize("rows", ['{"0": {"id": "1"}, "2": {"id": "3"}}', '[{"id": "1"}, {"id": "3"}]'])
def test_a_list_that_php_prints_as_a_map(spread: Sandbox, tmp_path: Path, rows: str) -> None:
    give(spread, f'{{"customers": {rows}}}')
    path = tmp_path / "x.jsonl"
    export(SpreadExportCustomersOperator, path)
    assert [row["id"] for row in lines(path)] == ["1", "3"]


@pytest.mark.parametrize("nothing", ["[]", "{}", "null", "false", '""'])
@pytest.mark.parametrize("raw", [False, True])
def test_nothing_in_any_of_phps_ways(spread: Sandbox, tmp_path: Path, nothing: str, raw: bool) -> None:
    give(spread, f'{{"customers": {nothing}}}')
    path = tmp_path / "x.jsonl"
    assert export(SpreadExportCustomersOperator, path, raw=raw)["rows"] == 0
    assert path.read_bytes() == b""


def test_an_answer_with_an_error_under_status_200(few_retries: Sandbox, tmp_path: Path) -> None:
    give(few_retries, '{"error": "site closed"}')
    with pytest.raises(Exception, match="site closed"):
        export(SpreadExportCustomersOperator, tmp_path / "x.jsonl")


def test_an_unknown_field_slows_one_page_only(spread: Sandbox, tmp_path: Path) -> None:
    give(
        spread,
        customer_page(*({"id": str(n), "new": n} for n in range(3))),
        customer_page(*({"id": str(n), "new": n} for n in range(2, 5))),
    )
    path = tmp_path / "x.csv"
    export(SpreadExportCustomersOperator, path, page_size=3, concurrency=1)
    with path.open(newline="") as file:
        extras = [json.loads(row["extra"]) for row in csv.DictReader(file)]
    assert extras == [{"new": n} for n in range(5)]


# Windows


def test_the_window_is_the_data_interval(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(1, ["spread"])
    spread.spread.consents.__init__()  # type: ignore[misc]
    times = ("2024-01-01 23:59:59", "2024-01-02 00:00:00", "2024-01-02 12:00:00", "2024-01-02 23:59:59")
    tracks = [answer(spread, at) for at in (*times, "2024-01-03 00:00:00")]
    for bounds in ("exclusive", "inclusive"):
        spread.switch("spread", date_bounds=bounds)
        path = tmp_path / f"{bounds}.jsonl"
        # Midnight in Paris.
        run = interval("2024-01-01T23:00:00+00:00", "2024-01-02T23:00:00+00:00")
        export(SpreadExportConsentsOperator, path, run, consent_id=9876)
        assert [row["trackId"] for row in lines(path)] == tracks[1:4]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris"])
@pytest.mark.parametrize("bounds", ["exclusive", "inclusive"])
def test_customers_of_an_interval_whatever_zone_filters_are_in(
    spread: Sandbox, tmp_path: Path, zone: str, bounds: str
) -> None:
    """Customers are shown in UTC: an hour or two of a day must not depend on what the filters mean by a time."""
    spread.switch("spread", zone=zone, date_bounds=bounds)
    midnight = dt.datetime(2024, 7, 1, 22, tzinfo=UTC)  # in Paris
    seconds = (-1, 0, 1, 3600, 7200, 79_200, 86_399, 86_400)
    for after in seconds:
        customer = spread.spread.add_customer(f"p{after}@example.fr")
        customer.created_at = f"{midnight + dt.timedelta(seconds=after):%Y-%m-%dT%H:%M:%S}+0000"
    path = tmp_path / "x.jsonl"
    run = interval(midnight.isoformat(), (midnight + dt.timedelta(days=1)).isoformat())
    export(SpreadExportCustomersOperator, path, run)
    assert [row["email"] for row in lines(path)] == [f"p{after}@example.fr" for after in seconds[1:-1]]


@pytest.mark.parametrize(
    "context",
    [{}, interval("2024-01-02T00:00:00+00:00", "2024-01-02T00:00:00+00:00"), {"data_interval_start": None}],
    ids=["none", "without extent", "null"],
)
def test_a_run_without_an_interval_exports_everything(
    spread: Sandbox, tmp_path: Path, context: dict[str, Any]
) -> None:
    spread.seed(30, ["spread"])
    assert export(SpreadExportCustomersOperator, tmp_path / "x.jsonl", context)["rows"] == 30


def test_a_filter_on_changes_or_window_all_leaves_the_interval_out(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(30, ["spread"])
    run = interval("2030-01-01T00:00:00+00:00", "2030-01-02T00:00:00+00:00")
    path = tmp_path / "x.jsonl"
    assert export(SpreadExportCustomersOperator, path, run)["rows"] == 0
    assert export(SpreadExportCustomersOperator, path, run, window="all")["rows"] == 30
    assert export(SpreadExportCustomersOperator, path, run, modified_after="2001-01-01")["rows"] == 30


def sent(sandbox: Sandbox) -> dict[str, str]:
    from urllib.parse import parse_qsl

    return dict(parse_qsl(next(call for call in sandbox.calls if call.query).query))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2024-06-01 00:00:00", "2024-06-01 00:00:00"),
        ("2024-06-01", "2024-06-01"),
        ("2024-06-01T00:00:00+00:00", "2024-06-01 02:00:00"),
        (dt.datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01 01:00:00"),
        (dt.datetime(2024, 1, 1), "2024-01-01 00:00:00"),
        (dt.date(2024, 1, 1), "2024-01-01 00:00:00"),
    ],
)
def test_bounds_are_sent_as_given_or_in_the_zone(
    spread: Sandbox, tmp_path: Path, given: Any, expected: str
) -> None:
    export(SpreadExportCustomersOperator, tmp_path / "x.jsonl", created_after=given)
    assert sent(spread)["createdAfter"] == expected


def test_the_zone_can_be_another_one(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(1, ["spread"])
    answer(spread, "2024-07-01 10:00:00")
    path = tmp_path / "x.jsonl"
    parameters = {"consent_id": 9876, "timezone": "UTC", "created_after": "2024-07-01T00:00:00+02:00"}
    export(SpreadExportConsentsOperator, path, **parameters)
    assert sent(spread)["createdAfter"] == "2024-06-30 22:00:00"
    assert [row["customerConsentCreatedAt"] for row in lines(path)] == ["2024-07-01T10:00:00+00:00"]


@pytest.mark.parametrize("minutes", [15, 20, 30, 60, 90])
@pytest.mark.parametrize("offset", [0, 30])
def test_the_repeated_hour_of_october(spread: Sandbox, tmp_path: Path, offset: int, minutes: int) -> None:
    """Runs lose nothing and repeat nothing, although each sees only the rows of which the hour has come."""
    spread.seed(1, ["spread"])
    spread.spread.consents.__init__()  # type: ignore[misc]
    tracks, got = [], []
    start = dt.datetime(2024, 10, 26, 23, offset, tzinfo=UTC)
    answered = dt.datetime(2024, 10, 26, 23, 59, 59, tzinfo=UTC)
    while start < dt.datetime(2024, 10, 27, 2, tzinfo=UTC):
        end = start + dt.timedelta(minutes=minutes)
        while answered < min(end, dt.datetime(2024, 10, 27, 2, tzinfo=UTC)):
            local = answered.astimezone(ZoneInfo("Europe/Paris"))
            tracks.append(answer(spread, f"{local:%Y-%m-%d %H:%M:%S}"))
            answered += dt.timedelta(minutes=10)
        run = {"data_interval_start": start, "data_interval_end": end}
        path = tmp_path / f"{start:%H%M}.jsonl"
        export(SpreadExportConsentsOperator, path, run, consent_id=9876)
        rows = lines(path)
        assert all(row["customerConsentCreatedAt"].endswith("+02:00") for row in rows)
        got += [row["trackId"] for row in rows]
        start = end
    assert sorted(got) == sorted(tracks)


def test_bounds_given_across_the_repeated_hour(spread: Sandbox, tmp_path: Path) -> None:
    """The clock shows the same at both ends: no reason to take them for turned round."""
    bounds = {"created_after": "2024-10-27T00:30:00+00:00", "created_before": "2024-10-27T01:30:00+00:00"}
    export(SpreadExportConsentsOperator, tmp_path / "x.jsonl", consent_id=9876, **bounds)
    assert sent(spread)["createdAfter"] == sent(spread)["createBefore"] == "2024-10-27 02:30:00"


class AssetStates:
    """What Airflow 3.3 gives a task for its assets."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __getitem__(self, asset: Any) -> AssetStates:
        return self

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value


class Asset:
    uri = "file:///exports/consents"


class Incremental(SpreadExportConsentsOperator):
    """The same task with an outlet that needs no Airflow of a certain version."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outlets = [Asset()]  # type: ignore[list-item]


def test_an_incremental_export_goes_on_where_the_last_one_ended(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(1, ["spread"])
    spread.spread.consents.__init__()  # type: ignore[misc]
    states = AssetStates()
    context = {"asset_state_store": states}
    got = []
    for at in (
        ["2024-01-01 10:00:00", "2024-01-01 10:00:05"],
        [],
        ["2024-01-01 10:00:06"],
        ["2024-02-01 00:00:00"],
    ):
        tracks = [answer(spread, one) for one in at]
        path = tmp_path / "x.jsonl"
        export(Incremental, path, context, consent_id=9876, incremental=True)
        got.append([row["trackId"] for row in lines(path)])
        assert got[-1] == tracks
    [watermark] = states.values.values()
    assert watermark == "2024-02-01T00:00:01"


def test_the_watermark_stays_when_the_export_fails(few_retries: Sandbox, tmp_path: Path) -> None:
    few_retries.seed(100, ["spread"])
    states = AssetStates()
    few_retries.fault("error_before", system="spread", after=1)
    with pytest.raises(CrmTransientError):
        export(
            Incremental,
            tmp_path / "x.jsonl",
            {"asset_state_store": states},
            consent_id=9876,
            incremental=True,
            page_size=10,
        )
    assert states.values == {}


def test_incremental_without_a_store_is_refused_with_a_clear_word(spread: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(CrmInputError, match="needs Airflow 3"):
        export(Incremental, tmp_path / "x.jsonl", consent_id=9876, incremental=True)
    assert spread_calls(spread) == []


def test_incremental_without_an_asset_is_refused(spread: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(CrmInputError, match="exactly one"):
        export(
            SpreadExportConsentsOperator,
            tmp_path / "x.jsonl",
            {"asset_state_store": AssetStates()},
            consent_id=9876,
            incremental=True,
        )


# Bad input


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"consent_id": "1"}, "no consent"),
        ({"consent_tech_name": "Nothing"}, "no consent"),
        ({}, "Give `consent_id`"),
        ({"consent_id": 9876, "consent_tech_name": "NewsEmail"}, "not both"),
        ({"consent_id": 9876, "status": "yes"}, "`status` is one of"),
        ({"consent_id": 9876, "created_after": "2024-02-01", "created_before": "2024-01-01"}, "turned round"),
        ({"consent_id": 9876, "created_after": "None"}, "no time"),
        ({"consent_id": 9876, "timezone": "Europe/Nowhere"}, "no time zone"),
        ({"consent_id": 9876, "page_size": 5001}, "page_size"),
        ({"consent_id": 9876, "window": "week"}, "`window` is one of"),
        ({"source": ["1"], "raw": True}, "do not name the customer"),
        ({"source": [{"email": "x"}]}, "no `customer_id`"),
    ],
    ids=str,
)
def test_bad_parameters(spread: Sandbox, tmp_path: Path, parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(CrmInputError, match=said):
        export(SpreadExportConsentsOperator, tmp_path / "x.jsonl", **parameters)
    assert list(tmp_path.iterdir()) == []


def test_a_consent_is_asked_for_once_when_nobody_answered_it(spread: Sandbox, tmp_path: Path) -> None:
    summary = export(SpreadExportConsentsOperator, tmp_path / "x.csv", consent_id=9873)
    assert summary["rows"] == 0
    assert [call.route for call in spread_calls(spread)].count("/consents/{id}") == 1


@pytest.mark.parametrize("name", ["x.txt", "x", "x.parquet.gz"])
def test_a_path_without_a_known_suffix(spread: Sandbox, tmp_path: Path, name: str) -> None:
    with pytest.raises(CrmInputError, match="known format"):
        export(SpreadExportCustomersOperator, tmp_path / name)
    assert spread_calls(spread) == []


def test_raw_rows_have_no_columns(spread: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(CrmInputError, match="raw"):
        export(SpreadExportCustomersOperator, tmp_path / "x.csv", raw=True)


def test_storage_that_refuses_the_write_is_found_before_paging(spread: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CrmInputError, match="cannot be written to"):
        export(SpreadExportCustomersOperator, tmp_path / "file" / "x.jsonl")
    assert spread_calls(spread) == []


# Airflow


def test_the_event_of_the_outlet_asset_says_what_was_written(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(1, ["spread"])

    class Event:
        extra: dict[str, Any] = {}

    class Events(dict[Any, Event]):
        def __missing__(self, asset: Any) -> Event:
            self[asset] = Event()
            return self[asset]

    events = Events()
    path = tmp_path / "x.jsonl"
    export(Incremental, path, {"outlet_events": events}, consent_id=9876, created_after="2020-01-01")
    [event] = events.values()
    rows = len(lines(path))
    assert event.extra == {
        "rows": rows,
        "path": str(path),
        "window": {"created_after": "2020-01-01", "created_before": None},
    }


def test_openlineage_names_inputs_and_outputs(spread: Sandbox, tmp_path: Path) -> None:
    extractors = pytest.importorskip(
        "airflow.providers.openlineage.extractors.base", reason="the OpenLineage provider is not installed"
    )
    path = tmp_path / "x.jsonl"
    task = SpreadExportCustomersOperator(task_id="export", path=str(path))
    extractor = extractors.DefaultExtractor(task)
    assert extractor.extract_on_failure(None) is None, "nothing is known before it ran"
    task.execute({})
    lineage = extractor.extract_on_complete(None)
    [read], [written] = lineage.inputs, lineage.outputs
    assert (written.namespace, written.name) == ("file", str(path))
    assert (read.namespace, read.name) == (spread.url, "spread/api/v2/customers")


def test_no_one_is_named_in_the_log(
    spread: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    give(spread, customer_page(GOOD, BAD))
    export(SpreadExportCustomersOperator, tmp_path / "x.csv", max_rejects=1)
    assert "example.fr" not in caplog.text


KILLED = """
import sys
from airflow_provider_crm.operators.spread_exports import SpreadExportCustomersOperator
print(SpreadExportCustomersOperator(task_id="export", path=sys.argv[1], page_size=100).execute({}))
"""


def test_kill_9_in_the_middle_and_a_retry(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(3000, ["spread"])
    fault = spread.fault("latency", system="spread", ms=150)
    path = tmp_path / "customers.jsonl"
    path.write_text("old")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.DEVNULL)
    while len(spread_calls(spread)) < 6:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.read_text() == "old"
    [left] = [file for file in tmp_path.iterdir() if file != path]
    os.utime(left, (time.time() - 90_000,) * 2)
    spread.clear()
    assert fault.fired
    export(SpreadExportCustomersOperator, path, page_size=100)
    assert [row["id"] for row in lines(path)] == list(spread.spread.customers)
    assert list(tmp_path.iterdir()) == [path]
