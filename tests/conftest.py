"""An Airflow of its own for the test session, a way to run DAGs in it, and a PostgreSQL."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.tasks import TaskRunner
from tests.helpers.waits import wait_for_nothing

if "airflow" in sys.modules:
    raise RuntimeError("Airflow was imported before tests/conftest.py could give it a home")

AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="airflow-home-"))

# What the caller's shell says about Airflow must not reach the tests.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "_AIRFLOW_"))]:
    del os.environ[_name]

(AIRFLOW_HOME / "dags").mkdir()
os.environ.update(
    {
        "AIRFLOW_HOME": str(AIRFLOW_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(AIRFLOW_HOME / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{AIRFLOW_HOME / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(AIRFLOW_HOME / "logs"),
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "SCARF_ANALYTICS": "false",
    }
)


def pytest_unconfigure() -> None:
    """Throw the session's Airflow away."""
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow_db() -> Path:
    """Give Airflow its tables, once a session: eight seconds that most tests need not spend.

    :return: the SQLite file.
    """
    _run([sys.executable, "-m", "airflow", "db", "migrate"], timeout=180)
    return AIRFLOW_HOME / "airflow.db"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL of the session's own."""
    pgserver = pytest.importorskip("pgserver", reason="there is no PostgreSQL to be had here (pgserver)")
    pytest.importorskip("psycopg2")
    logging.getLogger("pgserver").setLevel(logging.WARNING)  # it would log after the log is closed
    folder = tempfile.mkdtemp(prefix="crm-ledger-pg-")
    server = pgserver.get_server(folder)
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever is tried again be tried again at once."""
    wait_for_nothing(monkeypatch)


@pytest.fixture
def run_task(tmp_path: Path) -> TaskRunner:
    """Run an operator on rows: ``run_task(Operator, rows, **parameters)`` gives how each of them ended."""
    return TaskRunner(tmp_path)


RunDag = Callable[..., dict[str, Any]]


@pytest.fixture
def run_dag(airflow_db: Path, tmp_path: Path) -> RunDag:
    """Run a DAG file in a real Airflow, in a process of its own, retries included (without their delay).

    ``run_dag(path, *, dag_id=None, env=None, conf=None, logical_date=None, timeout=120)``

    - ``path``: the file; ``dag_id`` where it holds several DAGs;
    - ``env``: added to the environment, such as ``{"AIRFLOW_CONN_SPREAD_DEFAULT": "..."}``;
    - ``conf``: what "trigger with config" takes; overrides the DAG's params;
    - ``logical_date``: ISO text; a second run of the same date replaces the first.

    It returns ``{"state": "success", "run_id": ..., "tasks": {task_id: {"state": "success", "tries": 1,
    "xcom": the returned value}}, "log": all that was printed}``; a mapped task's instances are named
    ``task_id[0]`` and so on.
    """
    runs = 0

    def run(
        path: Path | str,
        *,
        dag_id: str | None = None,
        env: Mapping[str, str] | None = None,
        conf: Mapping[str, Any] | None = None,
        logical_date: str | None = None,
        timeout: float = 120,
    ) -> dict[str, Any]:
        nonlocal runs
        runs += 1
        folder = tmp_path / f"run_dag-{runs}"
        request, answer = folder / "request.json", folder / "answer.json"
        # Airflow parses its whole DAG folder at each run: let it find this one file only.
        dag_file = folder / "dags" / Path(path).name
        dag_file.parent.mkdir(parents=True)
        dag_file.symlink_to(Path(path).resolve())
        request.write_text(
            json.dumps({"path": str(dag_file), "dag_id": dag_id, "conf": conf, "logical_date": logical_date})
        )
        log = _run(
            [sys.executable, str(Path(__file__).with_name("dag_runner.py")), str(request), str(answer)],
            env={**os.environ, "AIRFLOW__CORE__DAGS_FOLDER": str(dag_file.parent), **(env or {})},
            timeout=timeout,
        )
        return {**json.loads(answer.read_text()), "log": log}

    return run


def _run(command: list[str], *, env: Mapping[str, str] | None = None, timeout: float) -> str:
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            ended = f"with {process.wait(timeout)}"
        except subprocess.TimeoutExpired:
            process.kill()
            ended = f"not within {timeout} seconds, killed with {process.wait()}"
        output.seek(0)
        log = output.read()
    if process.returncode:
        pytest.fail(f"{' '.join(command)} ended {ended}:\n{log}", pytrace=False)
    return log
