"""Rows that are no records: mended where it is clear what was meant, else rejected with the reason."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmRejectsError
from airflow_provider_crm.operators.spread.exports import SpreadExportCustomersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.exports import export, lines


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


@pytest.mark.sampled
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


@pytest.mark.sampled
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


def test_no_one_is_named_in_the_log(
    spread: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    give(spread, customer_page(GOOD, BAD))
    export(SpreadExportCustomersOperator, tmp_path / "x.csv", max_rejects=1)
    assert "example.fr" not in caplog.text
