"""What the tests of snapshots run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.tasks import TaskRunner

from .nightly import UPSERTS, Nightly, Upsert


@pytest.fixture(
    params=[
        pytest.param(one, id=one.system, marks=[pytest.mark.slow] if number else [])
        for number, one in enumerate(UPSERTS)
    ]
)
def upsert(request: pytest.FixtureRequest) -> Upsert:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=[False, True], ids=["file", "table"])
def nightly(
    request: pytest.FixtureRequest,
    upsert: Upsert,
    crm_sandbox: Sandbox,
    run_task: TaskRunner,
    tmp_path: Path,
    no_waiting: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Nightly:
    connection = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "snapshot")})
    monkeypatch.setenv("AIRFLOW_CONN_SNAPSHOTS", connection)
    return Nightly(upsert, crm_sandbox, run_task, tmp_path, shared=request.param)
