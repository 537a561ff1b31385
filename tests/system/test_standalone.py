"""A whole Airflow, as ``airflow standalone`` runs it: a deferred sensor, a watcher, and a triggerer that is killed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm._compat import SharedStreamProducer
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.sandbox.remote import RemoteSandbox
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.standalone import Standalone

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(
        SharedStreamProducer is object, reason="watermarks outlive a triggerer from Airflow 3.3 on"
    ),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc"),
]


def counts(airflow: Standalone) -> list[int]:
    """What the runs of the watched DAG have counted, oldest first."""
    runs = (airflow.ask("GET", "dags/watched/dagRuns?order_by=run_after") or {}).get("dag_runs", [])
    counts = []
    for run in runs:
        value = airflow.ask(
            "GET",
            f"dags/watched/dagRuns/{run['dag_run_id']}/taskInstances/count/xcomEntries/return_value",
        )
        if value is not None:
            counts.append(int(value["value"]))
    return counts


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteSandbox]:
    with Sandbox.spawn() as sandbox:
        for name, value in sandbox.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield sandbox


@pytest.fixture
def airflow(sandbox: RemoteSandbox, tmp_path: Path) -> Iterator[Standalone]:
    standalone = Standalone(tmp_path / "airflow", [Path(__file__).with_name("standalone_dags.py")])
    try:
        yield standalone
    finally:
        standalone.kill()


def answer(count: int, status: str = "accepted") -> None:
    hook = SpreadHook()
    for _ in range(count):
        customer = hook.create_customer({"email": f"p{time.time_ns()}@example.fr"})
        hook.create_consent(
            customer["id"], status=status, consent_id=9876, created_at=datetime.now(UTC).replace(tzinfo=None)
        )


def looks(sandbox: RemoteSandbox) -> int:
    return sandbox.calls.count("mindbaz", "GET")


def test_a_triggerer_is_killed(airflow: Standalone, sandbox: RemoteSandbox) -> None:
    answer(4)  # old when the watcher begins
    airflow.wait("Airflow is up", lambda: airflow.ask("GET", "monitor/health"))
    # In Airflow's database, where a triggerer has to ask for them.
    for conn_id, text in sandbox.connections().items():
        connection = json.loads(text)
        if isinstance(connection.get("extra"), dict):
            connection["extra"] = json.dumps(connection["extra"])
        assert airflow.ask("POST", "connections", connection_id=conn_id, **connection)
    airflow.wait("the DAG is known", lambda: airflow.ask("GET", "dags/waits"))
    run = airflow.wait(
        "the run is made", lambda: airflow.ask("POST", "dags/waits/dagRuns", logical_date=None)
    )["dag_run_id"]

    def task() -> Any:
        return airflow.ask("GET", f"dags/waits/dagRuns/{run}/taskInstances/wait") or {}

    airflow.wait("the sensor is deferred", lambda: task().get("state") == "deferred")
    seen = looks(sandbox)
    airflow.wait("the triggerer looks", lambda: looks(sandbox) > seen + 2)
    airflow.wait("the watcher looks", lambda: sandbox.calls.count("spread", "GET", "/customers-consents") > 2)

    answer(2)
    airflow.wait("the watcher starts a run", lambda: sum(counts(airflow)) == 2)
    before = counts(airflow)  # one run, or two when a look came between the two answers

    assert airflow.kill("triggerer") > 0
    time.sleep(1)
    seen = looks(sandbox)
    answer(3)
    answer(1, "refused")
    time.sleep(2)
    assert looks(sandbox) == seen, "somebody still looks"
    assert task()["state"] == "deferred"
    airflow.start("triggerer")

    airflow.wait("it looks again", lambda: looks(sandbox) > seen)
    number = MindbazHook().create_subscribers([{"fields": {1: "zoe@example.fr"}}])[0]["id"]
    airflow.wait("the sensor succeeds", lambda: task().get("state") == "success")
    xcom = airflow.ask(
        "GET", f"dags/waits/dagRuns/{run}/taskInstances/wait/xcomEntries/return_value?deserialize=true"
    )
    assert xcom["value"] in ({"id": number, "status": 0}, json.dumps({"id": number, "status": 0}))
    airflow.wait("the watcher catches up", lambda: sum(counts(airflow)) >= 5)
    time.sleep(3)
    assert counts(airflow) == [*before, 3]
