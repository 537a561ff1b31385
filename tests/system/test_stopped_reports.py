"""A task that Airflow stops leaves its report: a real signal and a real timeout, in a real Airflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.sandbox.server import Sandbox

pytestmark = pytest.mark.system

ROWS = 4_000

#: What the second task returns is the report of the first: XComs look different in each Airflow's database.
DAG = """
import os, signal, threading, time
from datetime import datetime, timedelta
from pathlib import Path
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

def stop_later(context):
    "Send this process what Airflow sends it, once some rows are done."
    results = Path(context["params"]["folder"], "results.jsonl")

    def stop():
        while not results.exists() or results.read_text().count("\\n") < 50:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()

class Upsert(MindbazUpsertSubscribersOperator):
    "Ends by what dag.test() of Airflow 2 expects of a task; a worker takes the others too."

    def execute(self, context):
        try:
            return super().execute(context)
        except Exception:
            raise
        except BaseException as error:
            raise RuntimeError("stopped") from error

with DAG("stopped", start_date=datetime(2024, 1, 1), schedule=None, params={"folder": ""}):
    @task(trigger_rule="all_done")
    def look(ti=None):
        return ti.xcom_pull(task_ids="upsert", key="crm_report")

    Upsert(
        task_id="upsert",
        source="{{ params.folder }}/people.csv",
        results_path="{{ params.folder }}/results.jsonl",
        batch_size=10,
        concurrency=2,
        retries=0,
        ARGUMENT,
    ) >> look()
"""


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        pytest.param("on_execute_callback=stop_later", None, id="SIGTERM"),
        pytest.param("execution_timeout=timedelta(seconds=4)", "AirflowTaskTimeout", id="execution_timeout"),
    ],
)
def test_a_task_that_is_stopped_tells_what_it_has_done(
    crm_sandbox: Sandbox,
    run_dag: Callable[..., dict[str, Any]],
    tmp_path: Path,
    argument: str,
    error: str | None,
) -> None:
    crm_sandbox.fault("latency", system="mindbaz", ms=100)
    lines = "".join(f"person{number}@example.fr\n" for number in range(ROWS))
    (tmp_path / "people.csv").write_text("email\n" + lines)
    path = tmp_path / "stopped.py"
    path.write_text(DAG.replace("ARGUMENT", argument))
    # Airflow 3.0 imports all it knows of forms for a decorator, which takes its time on a busy machine.
    env = {**crm_sandbox.environ(), "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300"}
    run = run_dag(path, env=env, conf={"folder": str(tmp_path)})
    assert run["tasks"]["upsert"]["state"] == "failed", run["log"]
    report = run["tasks"]["look"]["xcom"]
    assert report["state"] == "stopped"
    assert 0 < report["last_row"] <= report["read"] < ROWS
    assert report["created"] == report["read"]
    # What was on its way when the task ended may have arrived.
    assert report["created"] <= len(crm_sandbox.mindbaz.subscribers) <= report["created"] + 2 * 10
    assert report["requests"] > 0
    if error:
        assert report["error"]["type"] == error
    assert "Stopped in" in run["log"]
    assert "@example.fr" not in run["log"]
