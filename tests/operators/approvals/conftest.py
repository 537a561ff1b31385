"""What the tests of approvals run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.approvals import Person

from .asking import Task


@pytest.fixture(autouse=True)
def _at_once(no_waiting: None) -> None:
    pass


@pytest.fixture(autouse=True)
def _where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNS", "DB", "CRM_LEDGER_DEFAULT"):
        connection = {"conn_type": "sqlite", "host": str(tmp_path / f"{name.lower()}.db")}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))


@pytest.fixture
def task(crm_sandbox: Sandbox, person: Person) -> Task:
    return Task(crm_sandbox, person)
