"""An upsert with a snapshot, killed at any moment: in the end the CRM holds each row as the source has it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.waits import patience

pytestmark = pytest.mark.system

KILLS = 20
PEOPLE = 2000

#: Runs an upsert in forks, after the imports: a line "folder-of-the-source" starts one, and its process id is said.
WORKER = """
import json, os, pathlib, sys
import sqlalchemy as sa
from airflow_provider_crm.bulk.snapshot import SqlSnapshot
from airflow_provider_crm.bulk import snapshot_table
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator

folder = pathlib.Path(sys.argv[1])
url = sys.argv[2]
snapshot = SqlSnapshot("snapshots", "nightly") if url else str(folder / "snapshot")
snapshot_table.engine_for = lambda conn_id: sa.create_engine(url)

class Task:
    dag_id, run_id, task_id, map_index = "dag", "run", "upsert", -1

    def xcom_push(self, key, value):
        pass

for line in sys.stdin:
    child = os.fork()
    if not child:
        operator = MindbazUpsertSubscribersOperator(
            task_id="upsert",
            source=str(folder / "people.csv"),
            snapshot=snapshot,
            batch_size=50,
            concurrency=4,
            max_rejects=1.0,
        )
        summary = operator.execute({"ti": Task()})
        (folder / "summary.json").write_text(json.dumps(summary))
        os._exit(0)
    print("started", child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


def write_source(path: Path, values: list[str]) -> None:
    lines = [f"p{number}@example.fr,{value}" for number, value in enumerate(values)]
    path.write_text("\n".join(["email,nom", *lines, ""]))


@pytest.fixture(params=["file", "sqlite", "postgresql", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of the database that holds the snapshot; empty where a file does."""
    if request.param == "file":
        return ""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'snapshots.db'}"
    url: str = request.getfixturevalue({"postgresql": "postgres", "mariadb": "mariadb"}[request.param])
    return url


def test_killed_at_twenty_random_moments(crm_sandbox: Sandbox, tmp_path: Path, database: str) -> None:
    """Each run has other values, also those of a run before: what was sent once is not what the CRM holds now."""
    chance = random.Random(20)
    values = ["A"] * PEOPLE
    connection = json.loads(crm_sandbox.connections()["mindbaz_default"])
    # After a kill a run waits as long as a call can take.
    connection["extra"]["timeout"] = 1
    environ = {
        **os.environ,
        **crm_sandbox.environ(),
        "AIRFLOW_CONN_MINDBAZ_DEFAULT": json.dumps(connection),
    }
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path), database],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None

        def said(word: str) -> list[str]:
            assert worker.stdout is not None
            return next(line.split() for line in worker.stdout if line.startswith(word))

        def start() -> int:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
            return int(said("started")[1])

        for _ in range(KILLS):
            for number in chance.sample(range(PEOPLE), PEOPLE // 2):
                values[number] = chance.choice("ABC")
            write_source(tmp_path / "people.csv", values)
            calls = len(crm_sandbox.calls) + chance.randrange(60)
            child = start()
            # At a number of calls, which is a random moment of the run and never after it by much.
            while len(crm_sandbox.calls) < calls and Path(f"/proc/{child}").exists():
                pass
            os.kill(child, signal.SIGKILL)
            said("ended")
        start()
        said("ended")
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert summary["read"] == PEOPLE
        assert held(crm_sandbox) == {f"p{number}@example.fr": value for number, value in enumerate(values)}
        start()
        said("ended")
        worker.communicate(timeout=patience(60))
    last = json.loads((tmp_path / "summary.json").read_text())
    assert last["unchanged"] == PEOPLE
    # In a table, what a run had claimed when it was killed is looked up for a day.
    assert last["known"] == PEOPLE or database


def held(sandbox: Sandbox) -> dict[str, str]:
    fields = [line["fields"] for line in sandbox.records("mindbaz", "subscribers")]
    return {one[1]: one[14] for one in fields}
