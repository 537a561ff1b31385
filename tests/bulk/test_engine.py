"""What the engine does around the batches: their order, their number, what is said and kept when one fails."""

from __future__ import annotations

import gc
import itertools
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.bulk import engine, report
from airflow_provider_crm.bulk.batches import batches
from airflow_provider_crm.bulk.engine import BulkEngine
from airflow_provider_crm.bulk.outcomes import Ending, Item, Outcome, RowKey, Step
from airflow_provider_crm.bulk.report import Report
from airflow_provider_crm.exceptions import CrmInputError, CrmTransientError
from airflow_provider_crm.rows.row import Row
from airflow_provider_crm.rows.sources import open_source
from tests.helpers.waits import patience


class Places:
    """Hands each batch to a function, which may take its time or fail."""

    opt_outs = None

    def __init__(self, call: Callable[[list[int]], Any], batch_size: int = 10) -> None:
        self.batch_size = batch_size
        self.most = 0
        self._call = call
        self._now = 0
        self._lock = threading.Lock()

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, int]:
        return RowKey(str(data["number"])), int(data["number"])

    def plan(self, items: Sequence[Item[int]]) -> list[Step[int]]:
        return [Step(item, Outcome(Ending.CREATED)) for item in items]

    def apply(self, steps: Sequence[Step[int]]) -> list[Outcome]:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            self._call([step.item.record for step in steps])
        finally:
            with self._lock:
                self._now -= 1
        return [step.outcome for step in steps]


def run(
    places: Places, rows: int, results: Path, *, concurrency: int = 4, stop: Any = lambda: None
) -> Report:
    account = Report(results_path=str(results))
    source = open_source([{"number": number} for number in range(rows)])
    try:
        BulkEngine(
            places,
            source,
            account,
            None,
            concurrency=concurrency,
            max_retries=0,
            sleep=lambda seconds: None,
            stop=stop,
        ).run()
    finally:
        account.close()
    return account


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def test_batches_go_side_by_side_and_are_reported_in_order(results: Path) -> None:
    places = Places(lambda numbers: time.sleep(0.03 if numbers[0] == 0 else 0.005))
    assert run(places, 200, results).counts == {Ending.CREATED: 200}
    assert places.most == 4
    assert [json.loads(line)["row"] for line in results.read_text().splitlines()] == list(range(1, 201))


def test_a_row_that_takes_long_keeps_no_others_waiting(results: Path) -> None:
    """They are sent, and are reported once it is."""
    sent, many_are_sent = [], threading.Event()

    def the_first_takes_long(numbers: list[int]) -> None:
        sent.extend(numbers)
        if len(sent) >= 150:
            many_are_sent.set()
        assert numbers[0] != 0 or many_are_sent.wait(patience(10))

    places = Places(the_first_takes_long, batch_size=1)
    assert run(places, 300, results).counts == {Ending.CREATED: 300}
    assert places.most <= 4
    assert [json.loads(line)["row"] for line in results.read_text().splitlines()] == list(range(1, 301))


def test_large_batches_are_fewer_at_once(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ROWS_IN_FLIGHT", 100)
    places = Places(lambda numbers: time.sleep(0.005), batch_size=50)
    run(places, 500, results, concurrency=8)
    assert places.most == 2


def test_a_failure_stops_the_others_and_keeps_what_was_done(results: Path) -> None:
    stopped = threading.Event()
    seen: list[int] = []

    def fail_at_the_third(numbers: list[int]) -> None:
        seen.append(numbers[0])
        if numbers[0] == 20:
            raise CrmTransientError("gone")
        if numbers[0] > 20:
            assert stopped.wait(5)

    with pytest.raises(CrmTransientError, match="gone"):
        run(Places(fail_at_the_third), 1000, results, stop=stopped.set)
    assert len(seen) <= 8
    rows = [json.loads(line)["row"] for line in results.read_text().splitlines()]
    assert rows[:20] == list(range(1, 21))
    assert len(rows) == len(set(rows))
    assert not set(rows) & set(range(21, 31))


def test_no_batch_is_begun_once_one_has_failed(results: Path) -> None:
    """However many are ready."""
    seen: list[int] = []

    def fail(numbers: list[int]) -> None:
        seen.append(numbers[0])
        time.sleep(0.05)  # until all are ready
        raise CrmTransientError("gone")

    with pytest.raises(CrmTransientError, match="gone"):
        run(Places(fail, batch_size=1), 100, results, concurrency=1)
    assert seen == [0]


def test_progress_is_said_while_a_batch_takes_long(
    results: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(report, "PROGRESS_EVERY", 0.0)
    real, looks, enough = engine.wait, itertools.count(), threading.Event()

    def look_often(futures: Any, timeout: float) -> Any:
        if next(looks) > 3:
            enough.set()
        return real(futures, timeout=0.01)

    monkeypatch.setattr(engine, "wait", look_often)
    with caplog.at_level(logging.INFO):
        run(Places(lambda numbers: enough.wait(patience(30))), 10, results)
    assert len([line for line in caplog.messages if "rows/s" in line]) > 2


@pytest.mark.parametrize("threshold", [700, 0, 10**6])
def test_the_garbage_collector_is_left_as_it_was(results: Path, threshold: int) -> None:
    before = gc.get_threshold()
    during: list[int] = []
    gc.set_threshold(threshold, *before[1:])
    try:
        run(Places(lambda numbers: during.append(gc.get_threshold()[0])), 10, results)
        assert gc.get_threshold() == (threshold, *before[1:])
    finally:
        gc.set_threshold(*before)
    assert during == [threshold and max(threshold, engine.OBJECTS_PER_COLLECTION)]


@pytest.mark.parametrize("interval", [0.005, 0.0001])
def test_threads_change_often_while_it_runs(results: Path, interval: float) -> None:
    before = sys.getswitchinterval()
    during: list[float] = []
    sys.setswitchinterval(interval)
    try:
        run(Places(lambda numbers: during.append(sys.getswitchinterval())), 10, results)
        assert sys.getswitchinterval() == pytest.approx(interval, abs=2e-6)  # kept in whole microseconds
    finally:
        sys.setswitchinterval(before)
    assert during == [pytest.approx(min(interval, engine.SWITCH_INTERVAL), abs=2e-6)]


def test_runs_that_overlap_leave_all_as_it_was(results: Path) -> None:
    def settings() -> tuple[Any, ...]:
        return sys.getswitchinterval(), gc.get_threshold()

    before = settings()
    inside, may_end = threading.Event(), threading.Event()
    during: list[Any] = []

    def go_on(numbers: list[int]) -> None:
        inside.set()
        assert may_end.wait(patience(30))
        during.append(settings())

    later = threading.Thread(target=run, args=(Places(go_on), 10, results.with_name("later.jsonl")))

    def start_the_other(numbers: list[int]) -> None:
        later.start()
        assert inside.wait(patience(30))
        during.append(settings())

    run(Places(start_the_other), 10, results)
    may_end.set()
    later.join(patience(30))
    assert settings() == before
    assert during[0] == during[1] != before


def test_threads_change_as_before_once_it_has_failed(results: Path) -> None:
    def fail(numbers: list[int]) -> None:
        raise CrmTransientError("down")

    before = sys.getswitchinterval()
    with pytest.raises(CrmTransientError):
        run(Places(fail), 10, results)
    assert sys.getswitchinterval() == before


def test_a_file_that_cannot_be_written_is_found_before_any_row_is_sent(tmp_path: Path) -> None:
    places = Places(lambda numbers: None)
    (tmp_path / "file").touch()
    with pytest.raises(CrmInputError):
        run(places, 10, tmp_path / "file" / "results.jsonl")
    assert places.most == 0


class Alone(Places):
    """Each row is on its own, whoever it is about."""

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, int]:
        return RowKey("the same", merges=False, locks=(str(data["number"]),)), int(data["number"])


def test_rows_that_do_not_merge_are_not_held_back() -> None:
    """No later row tells anything about an earlier one, so that the first ones leave while others are read."""
    read = []

    def rows() -> Any:
        for number in range(1, 5_001):
            read.append(number)
            yield Row(number, {"number": number})

    stream = batches(rows(), Alone(lambda numbers: None))
    first = next(stream)
    assert [item.row.number for item in first.items] == list(range(1, 11))
    assert len(read) <= 200  # which are read at once
    rest = list(stream)
    assert [item.row.number for batch in rest for item in batch.items] == list(range(11, 5_001))
    assert {len(batch.items) for batch in rest} == {10}
