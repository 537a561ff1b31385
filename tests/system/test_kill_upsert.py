"""An upsert whose worker is killed, or whose first try fails: the retry sends what is missing, and accounts for all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.waits import patience

pytestmark = pytest.mark.system

ROWS = 8_000
BATCH_SIZE = 200
CONCURRENCY = 4

#: Tries the task in a process of its own until one ends by itself, and prints its summary. Forks after the imports,
#: which take longer than the tries.
WORKER = """
import json, os, pathlib, sys
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator

folder = pathlib.Path(sys.argv[1])


class Store:
    path = folder / "state.json"

    def get(self, key, default=None):
        return json.loads(self.path.read_text()).get(key, default) if self.path.exists() else default

    def set(self, key, value):
        self._write({key: value})

    def delete(self, key):
        self._write({})

    def _write(self, state):
        self.path.with_suffix(".new").write_text(json.dumps(state))
        self.path.with_suffix(".new").rename(self.path)


def attempt():
    operator = MindbazUpsertSubscribersOperator(
        task_id="upsert",
        source=str(folder / "people.csv"),
        rejects_path=str(folder / "rejects.jsonl"),
        results_path=str(folder / "results.jsonl"),
        max_rejects=1.0,
        batch_size=int(sys.argv[2]),
        concurrency=int(sys.argv[3]),
    )
    summary = operator.execute({"task_state_store": Store()})
    (folder / "summary.json").write_text(json.dumps(summary))


while True:
    child = os.fork()
    if not child:
        attempt()
        os._exit(0)
    print(child, flush=True)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def write_source(path: Path, rows: int) -> None:
    """Write people; one in a hundred has an e-mail that the CRM does not take, one in a thousand has none."""
    with path.open("w") as file:
        file.write("email,nom,points_fidelite\n")
        for number in range(rows):
            domain = "nodot" if number % 100 == 50 else "example.fr"
            email = "" if number % 1000 == 7 else f"person{number}@{domain}"
            file.write(f"{email},Person {number},{number % 500}\n")


def rows_sent(sandbox: Sandbox) -> int:
    return sum(call.rows for call in sandbox.calls if call.method in ("POST", "PUT"))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + patience(60)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_worker_killed_twice(crm_sandbox: Sandbox, tmp_path: Path) -> None:
    write_source(tmp_path / "people.csv", ROWS)
    rejected = ROWS // 100 + ROWS // 1000
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path), str(BATCH_SIZE), str(CONCURRENCY)],
        env={**os.environ, **crm_sandbox.environ()},
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        for there in (0.3 * ROWS, 0.7 * ROWS):
            child = next(int(line) for line in worker.stdout if line.strip().isdecimal())
            wait_until(lambda there=there: len(crm_sandbox.mindbaz.subscribers) > there)  # type: ignore[misc]
            os.kill(child, signal.SIGKILL)
        worker.communicate(timeout=patience(60))
    summary = json.loads((tmp_path / "summary.json").read_text())
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    rejects = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert sorted(line["row"] for line in results) == list(range(1, ROWS + 1))
    counted = Counter(line["outcome"] for line in results)
    assert {ending: summary[ending] for ending in counted} == counted
    assert summary["read"] == ROWS
    assert summary["rejected"] == len(rejects) == rejected
    assert summary["created"] + summary["unchanged"] == ROWS - rejected
    assert len(crm_sandbox.mindbaz.subscribers) == ROWS - rejected
    # Sent again: what was in flight and had not been applied, and e-mails that were not taken before.
    assert rows_sent(crm_sandbox) <= ROWS + 2 * (CONCURRENCY * BATCH_SIZE + rejected)
    assert json.loads((tmp_path / "state.json").read_text()) == {}


DAG = """
from datetime import datetime
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

with DAG("upsert", start_date=datetime(2024, 1, 1), schedule=None, params={"folder": ""}):
    MindbazUpsertSubscribersOperator(
        task_id="upsert",
        source="{{ params.folder }}/people.csv",
        rejects_path="{{ params.folder }}/rejects.jsonl",
        results_path="{{ params.folder }}/results.jsonl",
        max_rejects="0.05",
        batch_size=100,
        concurrency=2,
        retries=2,
    )
"""


def test_a_first_try_that_fails_in_a_real_airflow(
    crm_sandbox: Sandbox, run_dag: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    rows = 2000
    write_source(tmp_path / "people.csv", rows)
    path = tmp_path / "upsert.py"
    path.write_text(DAG)
    connection = json.loads(crm_sandbox.connections()["mindbaz_default"])
    connection["extra"]["max_retries"] = 0
    crm_sandbox.fault("error_after", system="mindbaz", method="POST", after=10, times=1)
    run = run_dag(
        path,
        env={"AIRFLOW_CONN_MINDBAZ_DEFAULT": json.dumps(connection)},
        conf={"folder": str(tmp_path)},
    )
    assert run["state"] == "success", run["log"]
    task = run["tasks"]["upsert"]
    assert task["tries"] == 2
    summary = task["xcom"]
    assert summary["read"] == rows
    assert summary["rejected"] == 22
    assert summary["created"] + summary["unchanged"] == rows - 22
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == rows
    assert len((tmp_path / "rejects.jsonl").read_text().splitlines()) == 22
    assert len(crm_sandbox.mindbaz.subscribers) == rows - 22
    if "This Airflow keeps no state" not in run["log"]:
        assert "going on after them" in run["log"]
        assert summary["created"] >= 1000, "what the first try has created is in the counts"
        assert rows_sent(crm_sandbox) <= rows + 2 * 100
    assert "@example.fr" not in run["log"]
