"""A worker whose CRM hangs ends within seconds: by SIGTERM, and by the task's ``execution_timeout``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.servers import RawServer, until_hung_up
from tests.helpers.waits import patience

pytestmark = [pytest.mark.system, pytest.mark.slow]
TASKS = ["upsert", "blind-upsert", "credit", "export", "sensor"]


class Worker:
    """A task in a process of its own, on a CRM that takes calls and does not answer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.called = threading.Event()
        self.server = RawServer(self._take)

    def _take(self, connection: socket.socket) -> None:
        self.called.set()
        until_hung_up(connection)

    def start(self, task: str, seconds: float) -> subprocess.Popen[str]:
        crm = {"host": f"http://{self.server.address}/x/v2", "login": "somebody", "password": "a-secret"}
        extra = {"timeout": 600}
        connections = {
            "spread": {"conn_type": "spread", **crm, "extra": extra},
            "mindbaz": {"conn_type": "mindbaz", **crm, "extra": {**extra, "site_id": 3}},
            "expertsender_cdp": {"conn_type": "expertsender_cdp", **crm, "extra": extra},
            "crm_ledger": {"conn_type": "sqlite", "host": str(self._folder / "ledger.db")},
        }
        environ = {
            f"AIRFLOW_CONN_{name.upper()}_DEFAULT": json.dumps(one) for name, one in connections.items()
        }
        script = Path(__file__).with_name("stopping.py")
        return subprocess.Popen(
            [sys.executable, str(script), task, str(self._folder), str(seconds)],
            env={**os.environ, **environ, "PYTHONPATH": os.getcwd()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    with worker.server:
        yield worker


def end_of(process: subprocess.Popen[str], seconds: float) -> str:
    """Wait for a process, which is killed when it takes longer."""
    try:
        _, said = process.communicate(timeout=patience(seconds))
    finally:
        process.kill()
    return said


@pytest.mark.parametrize("task", TASKS)
def test_a_sigterm_ends_a_task(worker: Worker, task: str) -> None:
    process = worker.start(task, 0)
    assert worker.called.wait(patience(60))
    process.send_signal(signal.SIGTERM)
    said = end_of(process, 5)
    assert process.returncode == 1
    assert "CrmError" in said or "CrmOutcomeUnknownError" in said or "CrmTransientError" in said


@pytest.mark.parametrize("task", TASKS)
def test_an_execution_timeout_ends_a_task(worker: Worker, task: str) -> None:
    process = worker.start(task, 1)
    assert worker.called.wait(patience(60))
    said = end_of(process, 6)
    assert process.returncode == 1
    assert "AirflowTaskTimeout" in said.splitlines()[-1]
