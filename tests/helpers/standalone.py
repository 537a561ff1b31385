"""A whole Airflow with a home, ports and processes of its own: ``airflow standalone``, or its parts with users."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.helpers.waits import patience


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Standalone:
    """An Airflow with a home, ports and processes of its own.

    :param dags: files of DAGs, which are copied.
    :param users: their roles by their names, which are their passwords too; see :mod:`tests.helpers.auth`. Whoever
        asks is an administrator when left out.
    :param env: added to the environment.
    :param settings: further settings, such as ``CORE__TEST_CONNECTION="Enabled"``.
    """

    def __init__(
        self,
        home: Path,
        dags: Iterable[Path],
        *,
        users: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = home / "standalone.log"
        folder = home / "dags"
        folder.mkdir(parents=True)
        for path in dags:
            shutil.copy(path, folder)
        given = {
            "CORE__DAGS_FOLDER": folder,
            "CORE__LOAD_EXAMPLES": False,
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__PARALLELISM": 2,
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "API__BASE_URL": self.url,
            "API__HOST": "127.0.0.1",
            "API__PORT": self.url.rpartition(":")[2],
            "API__WORKERS": 1,
            "LOGGING__BASE_LOG_FOLDER": home / "logs",
            # On a busy machine the first call takes longer than the five seconds after which a task would be lost.
            "WORKERS__EXECUTION_API_TIMEOUT": 60,
            # So long after its end may the supervisor notice that a task's process has ended; 5 by default.
            "WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
            "LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": free_port(),
            "TRIGGERER__JOB_HEARTBEAT_SEC": 1,
            "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": 4,
            **(self._own_users(home, users) if users else {"CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True}),
            **settings,
        }
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
            **{f"AIRFLOW__{name}": str(value) for name, value in given.items()},
            **(env or {}),
            "AIRFLOW_HOME": str(home),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            # Standalone calls `airflow` by its name.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "NO_PROXY": "127.0.0.1",
        }
        self._sessions: list[int] = []
        self._users = users
        self._headers: dict[str, str] = {}
        if users is None:
            self.start("standalone")
            return
        # Standalone knows no other auth manager than Airflow's simple one.
        self._run("db", "migrate")
        for component in ("api-server", "scheduler", "dag-processor", "triggerer"):
            self.start(component)

    def _own_users(self, home: Path, users: Mapping[str, str]) -> dict[str, Any]:
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps({name: name for name in users}))
        return {
            "CORE__AUTH_MANAGER": "tests.helpers.auth.PerDagAuthManager",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in users.items()),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": passwords,
            "API_AUTH__JWT_SECRET": "a secret of the tests" * 4,
        }

    def _run(self, *command: str) -> None:
        with self._log.open("ab") as log:
            subprocess.run(
                [sys.executable, "-m", "airflow", *command],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=True,
            )

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
        """Call the REST API, as the first user; None as long as it does not answer well."""
        try:
            if self._users and not self._headers:
                self._headers = {"Authorization": f"Bearer {self.token(next(iter(self._users)))}"}
            answer = requests.request(
                method, f"{self.url}/api/v2/{path}", json=body or None, headers=self._headers, timeout=10
            )
        except requests.RequestException:
            return None
        return answer.json() if answer.ok else None

    def token(self, name: str) -> str:
        """Sign a user in, as the cookie ``_token`` or a bearer's token.

        :raises requests.RequestException: Airflow does not let them in, or is not up.
        """
        who = {"username": name, "password": name}
        answer = requests.post(f"{self.url}/auth/token", json=who, timeout=10)
        answer.raise_for_status()
        token: str = answer.json()["access_token"]
        return token

    def until_asked(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Wait until a task waits for a person, and the scheduler knows that its worker has let it go.

        A task that goes on before is taken for one that was killed: Airflow's own race, which no person is quick enough
        to meet with the intervals set here, and which a script meets.
        """
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self.wait(
            "the task waits for a person",
            lambda: (self.ask("GET", path) or {}).get("state") == "awaiting_input",
        )
        key = f"TaskInstanceKey(dag_id='{dag_id}', task_id='{task_id}', run_id='{run_id}'"
        ended = f"state success for task instance {key}"
        self.wait("the scheduler knows it", lambda: ended in self._log.read_text(errors="replace"))

    def wait(self, what: str, look: Callable[[], Any], seconds: float = 300) -> Any:
        """Wait until something is so; on a busy machine a component needs minutes to start."""
        deadline = time.monotonic() + patience(seconds)
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.3)
        lines = self._log.read_text(errors="replace").splitlines(keepends=True)
        log = "".join(line for line in lines if "[http.access]" not in line)
        return pytest.fail(f"{what}: not within {seconds} s\n{log[-20_000:]}", pytrace=False)
