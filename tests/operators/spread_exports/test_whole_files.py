"""The file holds what the CRM holds, whatever is asked for and however it is printed."""

from __future__ import annotations

import csv
import datetime as dt
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet
import pytest

from airflow_provider_crm.operators.spread.exports import (
    SpreadExportConsentsOperator,
    SpreadExportCustomersOperator,
    SpreadExportLoyaltyOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.exports import export, lines

from .exporting import spread_calls


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_two_runs_of_one_window_give_the_same_bytes(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(300, ["spread"])
    for suffix in ("jsonl.gz", "parquet", "csv"):
        one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
        export(SpreadExportCustomersOperator, one, page_size=40)
        export(SpreadExportCustomersOperator, two, page_size=70, concurrency=1)
        assert one.read_bytes() == two.read_bytes() or suffix == "parquet"
        if suffix == "parquet":
            assert pyarrow.parquet.read_table(one) == pyarrow.parquet.read_table(two)


@pytest.mark.slow
def test_pages_are_read_ahead_but_no_further_than_allowed(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(2000, ["spread"])
    spread.fault("latency", system="spread", ms=30)
    export(SpreadExportCustomersOperator, tmp_path / "x.jsonl", page_size=100)
    assert spread.calls.max_in_flight["spread"] == 4
    spread.calls.clear()
    export(SpreadExportCustomersOperator, tmp_path / "x.jsonl", page_size=100, concurrency=2)
    assert spread.calls.max_in_flight["spread"] == 2


def test_a_consent_is_asked_for_once_when_nobody_answered_it(spread: Sandbox, tmp_path: Path) -> None:
    summary = export(SpreadExportConsentsOperator, tmp_path / "x.csv", consent_id=9873)
    assert summary["rows"] == 0
    assert [call.route for call in spread_calls(spread)].count("/consents/{id}") == 1
