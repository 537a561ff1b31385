"""Reports, history, notifier and refusals in a real Airflow, whichever it is; and nobody is named in any of it."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.history.store import History
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS
from tests.helpers.marked import EMAIL, KEY, MARK, NAME, PHONE, Left

pytestmark = pytest.mark.system

DAG = """
from datetime import datetime
from airflow_provider_crm.notifications.report import CrmReportNotifier
from airflow_provider_crm.operators.consents import CrmPropagateConsentsOperator
from airflow_provider_crm.operators.erasure import CrmErasePeopleOperator
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread import SpreadCreditLoyaltyOperator, SpreadExportCustomersOperator
try:
    from airflow.sdk import DAG, Asset, task
except ImportError:
    from airflow import DAG
    from airflow.datasets import Dataset as Asset
    from airflow.decorators import task

told = CrmReportNotifier("webhook", on=("rejects", "failed"))
folder = "{{ params.folder }}"

with DAG(
    "looked_at",
    start_date=datetime(2024, 1, 1),
    schedule=None,
    params={"folder": ""},
    default_args={"on_failure_callback": told, "on_success_callback": told, "trigger_rule": "all_done"},
):
    @task
    def look(ti=None):
        return {name: ti.xcom_pull(task_ids=name, key="crm_report") for name in NAMES}

    tasks = [
        MindbazUpsertSubscribersOperator(
            task_id="tolerated", source=folder + "/people.csv", max_rejects=2, outlets=[Asset("crm://people")]
        ),
        MindbazUpsertSubscribersOperator(
            task_id="rejects",
            source=folder + "/people.csv",
            rejects_path=folder + "/rejects.jsonl",
        ),
        MindbazUpsertSubscribersOperator(task_id="nowhere", source=folder + "/nowhere.csv"),
        MindbazUpsertSubscribersOperator(task_id="dry", source=folder + "/people.csv", max_rejects=2, dry_run=True),
        SpreadCreditLoyaltyOperator(task_id="credit", source=folder + "/credits.csv", settle_seconds=0),
        SpreadExportCustomersOperator(task_id="export", path=folder + "/customers.csv", window="all"),
        SpreadExportCustomersOperator(
            task_id="newer", path=folder + "/newer.csv", incremental=True, outlets=[Asset("crm://customers")]
        ),
        CrmPropagateConsentsOperator(
            task_id="pass_on",
            consents=[{"spread": "CONSENT", "mindbaz": True}],
            created_after="2026-01-01",
        ),
        CrmErasePeopleOperator(
            task_id="erase",
            source=folder + "/requests.csv",
            certificate_path=folder + "/certificate.jsonl",
            suppression_path=folder + "/suppressed.jsonl",
            settle_seconds=0,
        ),
    ]
    NAMES = [one.task_id for one in tasks]
    before = None
    for one in (*tasks, look()):
        if before is not None:
            before >> one
        before = one
"""


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a webhook, and what it is told."""
    bodies: list[dict[str, Any]] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/crm", bodies
        server.shutdown()


def test_what_runs_leave_behind(
    run_dag: Callable[..., dict[str, Any]],
    crm_sandbox: Sandbox,
    tmp_path: Path,
    airflow_db: Path,
    webhook: tuple[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newsletter = DEFINITIONS[0]
    customer = crm_sandbox.spread.add_customer(EMAIL, last_name=NAME, mobile=PHONE)
    crm_sandbox.spread.consents.add(customer.id, newsletter, "refused", "2026-03-02 10:00:00", "manualImport")
    crm_sandbox.expertsender.add_customer(EMAIL, phone=PHONE, first_name=NAME)
    (tmp_path / "people.csv").write_text(f"email,nom\n{EMAIL},{NAME}\n{MARK} nobody,{PHONE}\n,{NAME}\n")
    (tmp_path / "credits.csv").write_text(f"credit_key,email,amount\n{KEY},{EMAIL},5\n")
    (tmp_path / "requests.csv").write_text(f"email,phone\n{EMAIL},{PHONE}\n")
    path = tmp_path / "looked_at.py"
    path.write_text(DAG.replace("CONSENT", newsletter.id))
    url, bodies = webhook
    connections = {
        "AIRFLOW_CONN_RUNS": {"conn_type": "sqlite", "host": str(tmp_path / "history.db")},
        "AIRFLOW_CONN_CRM_LEDGER_DEFAULT": {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")},
        "AIRFLOW_CONN_WEBHOOK": {"conn_type": "http", "host": url},
    }
    env = {
        **crm_sandbox.environ(),
        **{name: json.dumps(connection) for name, connection in connections.items()},
        "AIRFLOW__CRM__HISTORY_CONN_ID": "runs",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "file", "log_file_path": str(tmp_path / "lineage"), "append": True}
        ),
    }
    run = run_dag(path, env=env, conf={"folder": str(tmp_path)}, timeout=300)
    reports = run["tasks"]["look"]["xcom"]
    assert reports, run["log"][-20_000:]
    incremental = (
        "success" if find_spec("airflow.sdk.execution_time.context") and _keeps_state() else "failed"
    )
    states = {
        "tolerated": "success",
        "rejects": "rejects",
        "nowhere": "failed",
        "dry": "dry_run",
        "credit": "success",
        "export": "success",
        "newer": incremental,
        "pass_on": "success",
        "erase": "success",
    }
    assert {name: report and report["state"] for name, report in reports.items()} == states, run["log"]
    assert [reports["rejects"][end] for end in ("read", "unchanged", "rejected")] == [3, 1, 2]
    if incremental == "failed":
        assert "Airflow 3.3" in reports["newer"]["error"]["message"], "what is to be done is said"

    monkeypatch.setenv("AIRFLOW_CONN_RUNS", env["AIRFLOW_CONN_RUNS"])
    with History.at("runs") as history:
        runs = [history.run(one.id) for one in history.page().runs]
    assert {one.task.task_id: one.state for one in runs if one} == states
    assert {one.task.dag_id for one in runs if one} == {"looked_at"}
    told = [(one["task_id"], one["state"]) for one in bodies]
    assert told == [(name, state) for name, state in states.items() if state in ("rejects", "failed")], bodies
    said = subprocess.run(
        [sys.executable, "-m", "airflow_provider_crm.history", "--json"],
        env={**os.environ, **env, "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {line["task"]["task_id"]: line["state"] for line in lines} == states

    left = Left()
    left.add("the log", run["log"])
    left.add("the command's output", said)
    left.add("what the webhook was told", bodies)
    left.add_database(airflow_db)
    left.add_database(tmp_path / "history.db")
    for name in ("certificate.jsonl", "suppressed.jsonl"):
        left.add(name, (tmp_path / name).read_text())
    events = tmp_path / "lineage"
    if find_spec("airflow.providers.openlineage"):
        assert "customers" in events.read_text()
        left.add("OpenLineage", events.read_text())
    left.check()


def _keeps_state() -> bool:
    """Whether this Airflow keeps watermarks."""
    from airflow.sdk.execution_time import context

    return hasattr(context, "AssetStateStoreAccessor")
