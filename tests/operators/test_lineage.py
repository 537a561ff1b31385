"""What OpenLineage is told of tasks that work in several CRMs. Those of one: ``tests/contract/test_lineage.py``."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_crm.operators.consents import CrmPropagateConsentsOperator
from airflow_provider_crm.operators.erasure import CrmErasePeopleOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.lineage import NOT_INSTALLED, told
from tests.helpers.tasks import TaskRunner

from .erasures import Erasure, address
from .propagations import CONSENTS, People, at

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _installed() -> None:
    pytest.importorskip("airflow.providers.openlineage.extractors.base", reason=NOT_INSTALLED)


def execute(task: Any, context: dict[str, Any]) -> None:
    inspect.unwrap(type(task).execute)(task, context)


def test_answers_go_from_one_list_into_two(crm_sandbox: Sandbox, run_task: TaskRunner) -> None:
    people = People(crm_sandbox, run_task)
    people.add("anna")
    people.add("bert", mindbaz=None)
    people.answer("anna", "refused", 5)
    people.answer("bert", "refused", 6)
    task = CrmPropagateConsentsOperator(task_id="task", consents=CONSENTS, created_after=at(0))
    assert told(task) == ([], [])
    execute(task, {})
    read, written = told(task)
    assert [(name, rows) for _, name, rows, _ in read] == [("spread/api/v2/customers-consents", 2)]
    assert [rows for _, _, rows, _ in written] == [1, 2], "as many as were changed in each"
    assert [name.rpartition("/")[2] for _, name, _, _ in written] == ["subscribers", "customers"]


def test_an_erasure_goes_into_each_system(crm_sandbox: Sandbox, run_task: TaskRunner, tmp_path: Path) -> None:
    erasure = Erasure(crm_sandbox, run_task, tmp_path)
    erasure.add("anna", "spread", "mindbaz")
    erasure.add("bert", "spread")
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps({"email": address(name)}) + "\n" for name in ("anna", "bert")))
    task = CrmErasePeopleOperator(
        task_id="task",
        source=str(path),
        certificate_path=str(tmp_path / "certificate.jsonl"),
        settle_seconds=0,
    )
    instance = SimpleNamespace(
        dag_id="d", run_id="r", task_id="task", map_index=-1, xcom_push=lambda *_: None
    )
    execute(task, {"ti": instance})
    read, written = told(task)
    assert read == [("file", str(path), 2, None)]
    assert [(name.rpartition("/")[2], rows) for _, name, rows, _ in written] == [
        ("customers", 2),
        ("subscribers", 1),
        ("customers", 0),
    ]
