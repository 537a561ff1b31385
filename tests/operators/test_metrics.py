"""What operators tell Airflow's metrics."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_crm.operators.base import metrics
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread.exports import SpreadExportCustomersOperator
from airflow_provider_crm.sandbox.server import Sandbox


class Recorder:
    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}
        self.tags: list[dict[str, str]] = []

    def incr(self, name: str, count: int, *, tags: dict[str, str]) -> None:
        self.seen[name] = count
        self.tags.append(tags)

    def timing(self, name: str, value: timedelta, *, tags: dict[str, str]) -> None:
        self.seen[name] = value
        self.tags.append(tags)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(metrics, "stats", lambda: recorder)
    return recorder


def test_a_bulk_operator(crm_sandbox: Sandbox, recorder: Recorder, tmp_path: Any) -> None:
    MindbazUpsertSubscribersOperator(
        task_id="upsert",
        source=[{"1": "zoe@example.fr"}, {"1": "bert@example.fr"}, {"1": "nobody"}],
        rejects_path=str(tmp_path / "rejects.jsonl"),
        max_rejects=1,
    ).execute({})
    assert recorder.seen.pop("crm.duration") > timedelta(0)
    assert recorder.seen.pop("crm.requests") > 0
    assert recorder.seen == {"crm.rows.read": 3, "crm.rows.created": 2, "crm.rows.rejected": 1}
    assert {tuple(tags.items()) for tags in recorder.tags} == {
        (("system", "mindbaz"), ("operator", "MindbazUpsertSubscribersOperator"))
    }


def test_an_export(crm_sandbox: Sandbox, recorder: Recorder, tmp_path: Any) -> None:
    crm_sandbox.spread.add_customer("zoe@example.fr")
    SpreadExportCustomersOperator(
        task_id="export", path=str(tmp_path / "customers.jsonl"), window="all"
    ).execute({})
    assert recorder.seen["crm.rows.exported"] == 1
    assert recorder.seen["crm.bytes"] > 0


def test_metrics_that_fail_do_not_fail_the_task(recorder: Recorder) -> None:
    recorder.incr = None  # type: ignore[method-assign, assignment]
    metrics.emit("mindbaz", "Operator", {"read": 3, "seconds": 1.5})


def test_the_real_metrics_take_them() -> None:
    metrics.emit("mindbaz", "Operator", {"read": 3, "seconds": 1.5})
