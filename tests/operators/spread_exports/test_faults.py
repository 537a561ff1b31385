"""Servers that fail and a task that is killed: the file is right, or the old one stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_crm.exceptions import (
    CrmAuthenticationError,
    CrmTransientError,
    CrmUnreadableAnswerError,
)
from airflow_provider_crm.operators.spread.exports import SpreadExportCustomersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.exports import export, lines

from .exporting import spread_calls

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


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("order", ["oldest_first", pytest.param("newest_first", marks=pytest.mark.slow)])
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


@pytest.mark.slow
@pytest.mark.parametrize("gap", ["one page", "all behind"])
def test_a_server_that_gives_an_empty_page_where_there_are_rows(
    spread: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: str
) -> None:
    """The list is read whole, or the task fails, and soon: never half of it, and not for ever."""
    spread.seed(2000, ["spread"])
    calls = iter(range(10**6))
    handle = spread.spread.handle

    def disturbed(call: Any) -> Any:
        start = int(call.parameters["startAt"])
        if (start == 798 if gap == "one page" else start >= 1000) and next(calls) < 400:
            call.query, call._parameters = call.query.replace(f"startAt={start}", "startAt=9999"), None
        return handle(call)

    monkeypatch.setattr(spread.spread, "handle", disturbed)
    path = tmp_path / "customers.jsonl"
    if gap == "one page":
        export(SpreadExportCustomersOperator, path, page_size=400)
        assert [row["id"] for row in lines(path)] == list(spread.spread.customers)
    else:
        with pytest.raises(CrmUnreadableAnswerError, match="gives no rows from offset"):
            export(SpreadExportCustomersOperator, path, page_size=400)
        assert not path.exists()


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.sampled
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
    # Ten pages, each tried a few times: how many others had begun when the first gave up depends on the machine.
    assert len(spread_calls(few_retries)) < 120


KILLED = """
import sys
from airflow_provider_crm.operators.spread.exports import SpreadExportCustomersOperator
print(SpreadExportCustomersOperator(task_id="export", path=sys.argv[1], page_size=100, window="all").execute({}))
"""


@pytest.mark.slow
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
