"""A whole Airflow, as ``airflow standalone`` runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.helpers.waits import patience


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Standalone:
    """An Airflow with a home, ports and processes of its own; all that it is told otherwise comes from the environment.

    :param dags: the files of its DAGs.
    :param users: roles by the name, which is the password too; without any, everybody is an admin.
    :param connections: as JSON by their ids, for the workers.
    :param settings: further options, such as ``CRM__HISTORY_DAYS``.
    """

    def __init__(
        self,
        home: Path,
        *dags: Path,
        users: Mapping[str, str] | None = None,
        connections: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self._first_user = next(iter(users), None) if users else None
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = home / "standalone.log"
        folder = home / "dags"
        folder.mkdir(parents=True)
        for file in dags:
            shutil.copy(file, folder)
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps({name: name for name in users or ()}))
        settings = {
            "CORE__DAGS_FOLDER": folder,
            "CORE__LOAD_EXAMPLES": False,
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": not users,
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
                f"{name}:{role}" for name, role in (users or {}).items()
            ),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": passwords,
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__PARALLELISM": 2,
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "API__BASE_URL": self.url,
            "API__HOST": "127.0.0.1",
            "API__PORT": self.url.rpartition(":")[2],
            "API__WORKERS": 1,
            # A worker gives its task up after three times 5 s in which the server does not answer; a busy machine may.
            "WORKERS__EXECUTION_API_TIMEOUT": 60,
            "LOGGING__BASE_LOG_FOLDER": home / "logs",
            "LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": free_port(),
            "TRIGGERER__JOB_HEARTBEAT_SEC": 1,
            "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": 4,
            **settings,
        }
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
            **{f"AIRFLOW__{name}": str(value) for name, value in settings.items()},
            **{f"AIRFLOW_CONN_{name.upper()}": text for name, text in (connections or {}).items()},
            "AIRFLOW_HOME": str(home),
            # Standalone calls `airflow` by its name.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "NO_PROXY": "127.0.0.1",
        }
        self._tokens: dict[str, str] = {}
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
        """Call the REST API as the first of the users; None as long as it does not answer well."""
        try:
            answer = self.call(method, path, user=self._first_user, **body)
        except requests.RequestException:
            return None
        return answer.json() if answer.ok else None

    def call(self, method: str, path: str, *, user: str | None, **body: Any) -> requests.Response:
        """Call the REST API as a user; None is nobody."""
        headers = {} if user is None else {"Authorization": f"Bearer {self._token(user)}"}
        return requests.request(
            method, f"{self.url}/api/v2/{path}", json=body or None, headers=headers, timeout=10
        )

    def _token(self, user: str) -> str:
        if user not in self._tokens:
            given = {"username": user, "password": user}
            answer = requests.post(f"{self.url}/auth/token", json=given, timeout=10)
            answer.raise_for_status()
            self._tokens[user] = answer.json()["access_token"]
        return self._tokens[user]

    def wait(self, what: str, look: Callable[[], Any], seconds: float = 300) -> Any:
        """Wait until something is so; on a busy machine a component needs minutes to start."""
        deadline = time.monotonic() + patience(seconds)
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.3)
        log = self._log.read_text(errors="replace")
        return pytest.fail(f"{what}: not within {seconds} s\n{log[-20_000:]}", pytrace=False)
