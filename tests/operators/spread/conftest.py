"""SPREAD's operators over real HTTP, with nothing to wait for."""

from __future__ import annotations

import json

import pytest

from airflow_provider_crm.bulk import settle
from airflow_provider_crm.http import retry
from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(settle, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)


@pytest.fixture
def spread(crm_sandbox):
    return crm_sandbox.spread


@pytest.fixture
def run(tmp_path):
    """Run an operator on rows.

    :return: each row's end, with its reason where it has one.
    """

    def run(operator_class, source, **parameters):
        results = tmp_path / "results.jsonl"
        parameters.setdefault("max_rejects", len(source))
        operator_class(task_id="t", source=source, results_path=str(results), **parameters).execute({})
        lines = sorted(map(json.loads, results.read_text().splitlines()), key=lambda line: line["row"])
        return [
            f"{line['outcome']}: {line['reason']}" if line["reason"] else line["outcome"] for line in lines
        ]

    return run


@pytest.fixture
def upsert(run):
    return lambda source, **parameters: run(SpreadUpsertCustomersOperator, source, **parameters)
