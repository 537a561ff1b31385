"""Tasks whose CRM hangs, under Airflow's own supervisor: they end within seconds, and their reports are there."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm._compat import SharedStreamProducer
from tests.helpers.servers import RawServer, until_hung_up
from tests.helpers.standalone import Standalone
from tests.helpers.waits import patience

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(SharedStreamProducer is object, reason="as the supervisor of Airflow 3.3 does it"),
]

DAG = """
from datetime import datetime, timedelta
from airflow.sdk import DAG
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator

with DAG("hangs", start_date=datetime(2026, 1, 1), schedule=None, catchup=False):
    for name, seconds in {"timed_out": 5, "stopped": 3600}.items():
        MindbazUpsertSubscribersOperator(
            task_id=name,
            source=[{"email": f"p{number}@example.fr"} for number in range(20)],
            batch_size=5,
            retries=0,
            execution_timeout=timedelta(seconds=seconds),
        )
"""


def test_a_task_whose_crm_hangs_ends_and_reports(tmp_path: Path) -> None:
    """By its ``execution_timeout``, and by a SIGTERM, each within five seconds."""
    (tmp_path / "hangs.py").write_text(DAG)
    with RawServer(until_hung_up) as server:
        crm = {"conn_type": "mindbaz", "host": f"http://{server.address}/x", "password": "a-secret"}
        connection = json.dumps({**crm, "extra": {"site_id": 3, "timeout": 600}})
        airflow = Standalone(
            tmp_path / "airflow",
            [tmp_path / "hangs.py"],
            env={"AIRFLOW_CONN_MINDBAZ_DEFAULT": connection},
        )
        try:
            stop_and_look(airflow)
        finally:
            airflow.kill()


def stop_and_look(airflow: Standalone) -> None:
    airflow.wait("Airflow is up", lambda: airflow.ask("GET", "monitor/health"))
    airflow.wait("the DAG is known", lambda: airflow.ask("GET", "dags/hangs"))
    made = airflow.wait(
        "the run is made", lambda: airflow.ask("POST", "dags/hangs/dagRuns", logical_date=None)
    )
    tasks = f"dags/hangs/dagRuns/{made['dag_run_id']}/taskInstances"

    def task(name: str) -> dict[str, Any]:
        return airflow.ask("GET", f"{tasks}/{name}") or {}

    def ended(name: str) -> datetime:
        airflow.wait("the task ends", lambda: task(name).get("state") == "failed")
        return datetime.fromisoformat(task(name)["end_date"])

    def report(name: str) -> dict[str, Any]:
        path = f"{tasks}/{name}/xcomEntries/crm_report?deserialize=true"
        value = airflow.wait("the report is there", lambda: airflow.ask("GET", path))["value"]
        told: dict[str, Any] = json.loads(value) if isinstance(value, str) else value
        return told

    end = ended("timed_out")
    timed_out = report("timed_out")
    assert (timed_out["state"], timed_out["error"]["type"]) == ("stopped", "AirflowTaskTimeout")
    assert end - datetime.fromisoformat(timed_out["started_at"]) < timedelta(seconds=5 + patience(5))

    process = airflow.wait(
        "the other runs", lambda: task("stopped").get("state") == "running" and task("stopped")["pid"]
    )
    signalled = datetime.now(UTC)
    os.kill(process, signal.SIGTERM)
    assert ended("stopped") - signalled < timedelta(seconds=patience(5))
    assert report("stopped")["state"] == "stopped"
