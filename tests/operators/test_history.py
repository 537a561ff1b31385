"""What runs write into the history, what it is good for, and that a history which is down holds up nobody."""

from __future__ import annotations

import datetime as dt
import json
import logging
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm._compat import PAUSES
from airflow_provider_crm.exceptions import CrmInputError, CrmRejectsError, CrmTransientError
from airflow_provider_crm.history import context as history_context
from airflow_provider_crm.history import reading
from airflow_provider_crm.history.runs import Run, TaskTry
from airflow_provider_crm.history.store import History
from airflow_provider_crm.operators.base import noted
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread import SpreadExportCustomersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.connections import set_connection
from tests.helpers.instances import Instance
from tests.helpers.state import TaskState
from tests.helpers.waits import patience, wait_until


@pytest.fixture(autouse=True)
def _at_once(no_waiting: None) -> None:
    pass


@pytest.fixture(autouse=True)
def _where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "history.db")})
    monkeypatch.setenv("AIRFLOW_CONN_RUNS", connection)
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", json.dumps({"conn_type": "sqlite", "host": "/nowhere/at/all.db"}))


def people(number: int) -> list[dict[str, str]]:
    return [{"1": f"p{one}@example.fr"} for one in range(number)]


def upsert(
    source: Any, ti: Instance | None = None, *, store: Any = None, **parameters: Any
) -> dict[str, Any]:
    context: Any = {"ti": ti or Instance()} | ({} if store is None else {"task_state_store": store})
    given = {"task_id": "upsert", "source": source, "history_conn_id": "runs", **parameters}
    return MindbazUpsertSubscribersOperator(**given).execute(context)


def runs() -> list[Run]:
    """What the history holds, the newest first, with reasons."""
    with History.at("runs") as history:
        found = [history.run(run.id) for run in history.page().runs]
    return [run for run in found if run is not None]


def test_a_run_is_noted_as_its_report_says(crm_sandbox: Sandbox) -> None:
    ti = Instance("scheduled__1", dag_id="sync", task_id="people", map_index=3, try_number=2)
    logical_date = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
    operator = MindbazUpsertSubscribersOperator(
        task_id="upsert", source=[*people(2), {"1": "nobody"}], max_rejects=1, history_conn_id="runs"
    )
    operator.execute({"ti": ti, "logical_date": logical_date})  # type: ignore[typeddict-item]
    (run,) = runs()
    assert run.task == TaskTry("sync", "people", "scheduled__1", 3, 2, logical_date)
    assert (run.system, run.operator, run.state) == ("mindbaz", "MindbazUpsertSubscribersOperator", "success")
    assert (run.read, run.created, run.rejected, run.last_row) == (3, 2, 1, 3)
    assert run.requests == ti.report["requests"]
    assert [(one.end, one.stage, one.rows) for one in run.reasons] == [("rejected", "validate", 1)]
    assert run.more == {}


def test_the_option_of_airflow_is_the_default(crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    upsert(people(1), history_conn_id=None)
    monkeypatch.setenv("AIRFLOW__CRM__HISTORY_CONN_ID", "runs")
    upsert(people(1), history_conn_id=None)
    assert len(runs()) == 1


def test_runs_that_fail_are_noted(crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CrmRejectsError):
        upsert([{"1": "nobody"}], Instance("1"))
    with pytest.raises(CrmInputError):
        upsert("/nowhere.csv", Instance("2"))
    upsert(people(1), Instance("3"), dry_run=True)
    assert [(run.state, run.error_type) for run in runs()] == [
        ("dry_run", None),
        ("failed", "CrmInputError"),
        ("rejects", "CrmRejectsError"),
    ]


def test_an_export_is_noted(crm_sandbox: Sandbox, tmp_path: Path) -> None:
    crm_sandbox.spread.add_customer("zoe@example.fr")
    path = str(tmp_path / "customers.jsonl")
    SpreadExportCustomersOperator(task_id="export", path=path, window="all", history_conn_id="runs").execute(
        {"ti": Instance()}  # type: ignore[typeddict-item]
    )
    (run,) = runs()
    assert (run.state, run.rows, run.exported, run.read, run.path) == ("success", 1, 1, None, path)


@pytest.mark.slow
def test_a_retry_that_goes_on_counts_for_both(crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, crm_sandbox, "mindbaz", max_retries=0)
    crm_sandbox.fault("error_before", system="mindbaz", method="POST", after=2)
    state = TaskState()
    with pytest.raises(CrmTransientError):
        upsert(people(40), store=state, batch_size=10, concurrency=1)
    crm_sandbox.clear()
    upsert(people(40), Instance(try_number=2), store=state, batch_size=10, concurrency=1)
    assert [(run.task.try_number, run.state, run.read, run.continued) for run in runs()] == [
        (2, "success", 40, False),
        (1, "failed", 20, True),
    ]
    with History.at("runs") as history:
        assert [day.created for day in history.days()] == [40]


def test_a_history_that_is_down_is_a_warning(crm_sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    for conn_id in ("away", "no_such_connection"):
        caplog.clear()
        assert upsert(people(1), history_conn_id=conn_id)["read"] == 1
        ours = (noted.__name__, history_context.__name__)
        warnings = [one.getMessage() for one in caplog.records if one.name in ours]
        assert len(warnings) == 1
        assert "history" in warnings[0]


def test_a_history_that_does_not_answer_is_not_waited_for(
    crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(noted, "WAIT", 0.01)
    import threading

    answers = threading.Event()
    begin = History.begin

    def late(history: History, task: TaskTry, **run: Any) -> int:
        assert answers.wait(patience(30))
        return begin(history, task, **run)

    monkeypatch.setattr(History, "begin", late)
    assert upsert(people(1))["created"] == 1
    assert "has not answered" in caplog.text
    answers.set()


def test_a_run_that_lets_go_of_its_worker_is_taken_out(crm_sandbox: Sandbox) -> None:
    class Paused(*PAUSES[:1]):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    class Pausing(MindbazUpsertSubscribersOperator):
        def _checks(self) -> Any:
            raise Paused

    with pytest.raises(Paused):
        Pausing(task_id="upsert", source=people(1), history_conn_id="runs").execute({"ti": Instance()})
    assert runs() == []


def test_a_run_tells_that_it_lives(crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(noted, "SIGN_EVERY", 0.001)
    monkeypatch.setattr(History, "seen", lambda history, run: seen.append(run))
    crm_sandbox.fault("latency", system="mindbaz", ms=50)
    upsert(people(3))
    assert set(seen) == {runs()[0].id}


def test_runs_sweep_what_is_old(crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    old = dt.datetime.now(dt.UTC) - dt.timedelta(days=11)
    with History.at("runs") as history:
        history.begin(TaskTry("dag", "task", "old"), system="mindbaz", operator="Operator", started_at=old)
    upsert(people(1))
    assert len(runs()) == 2
    monkeypatch.setenv("AIRFLOW__CRM__HISTORY_DAYS", "10")
    upsert(people(1), Instance("manual__2"))
    assert [run.task.run_id for run in runs()] == ["manual__2", "manual__1"]


@pytest.mark.system
def test_a_worker_that_is_killed_leaves_a_run_without_an_end(
    crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm_sandbox.fault("latency", system="mindbaz", ms=200)
    worker = multiprocessing.get_context("fork").Process(
        target=upsert, args=(people(500),), kwargs={"batch_size": 1, "concurrency": 1}
    )
    worker.start()
    wait_until(lambda: len(crm_sandbox.mindbaz.subscribers) > 3)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert [run.state for run in runs()] == ["running"]
    monkeypatch.setattr(reading, "SILENCE", -60.0)  # as if three minutes had passed
    assert [run.state for run in runs()] == ["no_end_known"]


# What is usual


def three_runs_of(rows: int) -> None:
    for number in range(3):
        upsert(people(rows), Instance(f"manual__{number}"))


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "passes"), [(5, True), (10, True), (15, True), (4, False), (16, False)])
def test_a_source_that_deviates_is_refused(crm_sandbox: Sandbox, rows: int, passes: bool) -> None:
    three_runs_of(10)
    calls = len(writes(crm_sandbox))
    ti = Instance("manual__4")
    if passes:
        assert upsert(people(rows), ti, max_deviation=0.5)["read"] == rows
        return
    with pytest.raises(CrmInputError, match=f"has {rows} rows, where 10 are usual"):
        upsert(people(rows), ti, max_deviation="0.5")
    assert len(writes(crm_sandbox)) == calls
    assert (ti.report["state"], ti.report["read"]) == ("failed", 0)


def test_a_few_runs_say_nothing(crm_sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2):
        upsert(people(10), Instance(f"manual__{number}"))
    with caplog.at_level(logging.INFO):
        upsert(people(1), Instance("manual__3"), max_deviation=0.5)
    assert "2 successful runs of this task, fewer than 3" in caplog.text


def test_what_is_usual_needs_a_history(crm_sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CrmInputError, match="max_deviation"):
        upsert(people(1), history_conn_id=None, max_deviation=0.5)
    assert upsert(people(1), history_conn_id="away", max_deviation=0.5)["read"] == 1
    assert "`max_deviation` was not looked at" in caplog.text


def writes(sandbox: Sandbox) -> list[Any]:
    return [call for call in sandbox.calls if call.method in ("POST", "PUT")]
