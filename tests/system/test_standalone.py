"""A whole Airflow, as ``airflow standalone`` runs it: a deferred sensor, a watcher, and a triggerer that is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_crm._compat import SharedStreamProducer
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.sandbox.remote import RemoteSandbox
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.waits import patience

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(
        SharedStreamProducer is object, reason="watermarks outlive a triggerer from Airflow 3.3 on"
    ),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Standalone:
    """An Airflow with a home, ports and processes of its own."""

    def __init__(self, home: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = home / "standalone.log"
        dags = home / "dags"
        dags.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("standalone_dags.py"), dags)
        settings = {
            "CORE__DAGS_FOLDER": dags,
            "CORE__LOAD_EXAMPLES": False,
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__PARALLELISM": 2,
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "API__BASE_URL": self.url,
            "API__HOST": "127.0.0.1",
            "API__PORT": self.url.rpartition(":")[2],
            "API__WORKERS": 1,
            "LOGGING__BASE_LOG_FOLDER": home / "logs",
            "LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": free_port(),
            "TRIGGERER__JOB_HEARTBEAT_SEC": 1,
            "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": 4,
        }
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
            **{f"AIRFLOW__{name}": str(value) for name, value in settings.items()},
            "AIRFLOW_HOME": str(home),
            # Standalone calls `airflow` by its name.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "NO_PROXY": "127.0.0.1",
        }
        self._sessions: list[int] = []
        self.start("standalone")

    def start(self, command: str) -> None:
        """Start a component in a session of its own."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", command],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._sessions.append(process.pid)

    def kill(self, component: str = "") -> int:
        """Kill those of our processes whose command names a component; all of them otherwise.

        :return: how many there were.
        """
        killed = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                session = int(stat.read_text().rpartition(")")[2].split()[3])
                command = stat.with_name("cmdline").read_text()
                if session in self._sessions and component in command:
                    os.kill(int(stat.parent.name), signal.SIGKILL)
                    killed += 1
            except (OSError, IndexError):
                continue
        return killed

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """Call the REST API; None as long as it does not answer well."""
        try:
            answer = requests.request(method, f"{self.url}/api/v2/{path}", json=body or None, timeout=10)
        except requests.RequestException:
            return None
        return answer.json() if answer.ok else None

    def wait(self, what: str, look: Callable[[], Any], seconds: float = 300) -> Any:
        """Wait until something is so; on a busy machine a component needs minutes to start."""
        deadline = time.monotonic() + patience(seconds)
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.3)
        log = self._log.read_text(errors="replace")
        return pytest.fail(f"{what}: not within {seconds} s\n{log[-20_000:]}", pytrace=False)

    def counts(self) -> list[int]:
        """What the runs of the watched DAG have counted, oldest first."""
        runs = (self.ask("GET", "dags/watched/dagRuns?order_by=run_after") or {}).get("dag_runs", [])
        counts = []
        for run in runs:
            value = self.ask(
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
    standalone = Standalone(tmp_path / "airflow")
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
    airflow.wait("the watcher starts a run", lambda: sum(airflow.counts()) == 2)
    before = airflow.counts()  # one run, or two when a look came between the two answers

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
    airflow.wait("the watcher catches up", lambda: sum(airflow.counts()) >= 5)
    time.sleep(3)
    assert airflow.counts() == [*before, 3]
