"""Credits in a real Airflow: the example, and a worker that is killed in the middle, cleared and run again."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "spread_credit_loyalty.py"

#: A minute is long for a test.
DAG = """
from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

from airflow_provider_crm.loyalty import claims
from airflow_provider_crm.operators.spread import loyalty as operators

claims.LEASE = 3.0
operators.CONNECT_TIMEOUT = 0.0

with DAG(dag_id="credits", start_date=datetime(2026, 1, 1), schedule=None, catchup=False):
    operators.SpreadCreditLoyaltyOperator(
        task_id="credit", source="{source}", settle_seconds=0.5, retries=3
    ) >> operators.SpreadAuditLoyaltyOperator(task_id="audit")
"""


@pytest.fixture
def environ(crm_sandbox, tmp_path):
    connection = {**json.loads(crm_sandbox.connections()["spread_default"])}
    connection["extra"] = {"timeout": 2, "max_retries": 1}
    ledger = {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}
    return {
        "AIRFLOW_CONN_SPREAD_DEFAULT": json.dumps(connection),
        "AIRFLOW_CONN_CRM_LEDGER_DEFAULT": json.dumps(ledger),
    }


@pytest.fixture
def source(crm_sandbox, tmp_path):
    """Four hundred credits of forty people, and what each of them is to get."""
    wanted = Counter()
    path = tmp_path / "credits.csv"
    with path.open("w") as file:
        file.write("credit_key,email,amount\n")
        for number in range(40):
            customer = crm_sandbox.spread.add_customer(f"p{number}@example.fr")
            for turn in range(10):
                file.write(f"k{number}-{turn},p{number}@example.fr,{5 + turn % 5}\n")
                wanted[customer.id, Decimal(5 + turn % 5)] += 1
    return path, wanted


def lines(crm_sandbox):
    return Counter((line.customer_id, Decimal(line.amount)) for line in crm_sandbox.spread.loyalty.lines)


def runner_of(folder):
    """Find the process of this one's children that runs a DAG for a test."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_text()
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if "dag_runner.py" in command and str(folder) in command and parent == os.getpid():
            return int(path.name)
    return None


def test_the_example(run_dag, crm_sandbox, environ, source, tmp_path):
    path, wanted = source
    conf = {
        "source": str(path),
        "rejects_path": str(tmp_path / "rejects.jsonl"),
        "report_path": str(tmp_path / "audit.jsonl"),
    }
    result = run_dag(EXAMPLE, env=environ, conf=conf)
    assert result["state"] == "success", result["log"]
    credited = result["tasks"]["credit_points"]["xcom"]
    assert (credited["credited"], credited["already_credited"], credited["amount"]) == (400, 0, "2800")
    assert result["tasks"]["audit"]["xcom"]["credits_without_line"] == 0
    assert lines(crm_sandbox) == wanted
    assert (tmp_path / "rejects.jsonl").read_text() == ""


def test_a_worker_killed_in_the_middle_and_its_run_cleared(run_dag, crm_sandbox, environ, source, tmp_path):
    path, wanted = source
    dag = tmp_path / "credits_dag.py"
    dag.write_text(DAG.format(source=path))
    crm_sandbox.fault("latency", method="POST", path="/cagnottes", ms=20)
    outcome = []

    def first_run():
        try:
            outcome.append(run_dag(dag, env=environ, logical_date="2026-01-02T00:00:00+00:00"))
        except pytest.fail.Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=first_run)
    thread.start()
    while len(crm_sandbox.spread.loyalty.lines) < 150 and thread.is_alive():
        time.sleep(0.005)
    runner = runner_of(tmp_path)
    assert runner is not None, outcome
    os.kill(runner, signal.SIGKILL)
    thread.join()
    assert isinstance(outcome[0], pytest.fail.Exception)
    assert 150 <= sum(lines(crm_sandbox).values()) < 400
    # The second run meets a CRM that loses answers, then one that is away: its retries go on.
    crm_sandbox.clear()
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", every=20)
    crm_sandbox.fault("error_before", method="POST", path="/cagnottes", after=60, times=40)
    result = run_dag(dag, env=environ, logical_date="2026-01-02T00:00:00+00:00")
    assert result["state"] == "success", result["log"]
    credited = result["tasks"]["credit"]["xcom"]
    assert credited["read"] == 400 == credited["credited"] + credited["already_credited"]
    assert result["tasks"]["audit"]["xcom"]["credits_without_line"] == 0
    assert result["tasks"]["audit"]["xcom"]["credits"] == 400
    assert lines(crm_sandbox) == wanted
    assert "example.fr" not in result["log"]
