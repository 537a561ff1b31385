"""A person's approval in a whole Airflow: approved, refused, nobody there, another source, a retry."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_crm._compat import PAUSES
from airflow_provider_crm.sandbox.remote import RemoteSandbox
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.standalone import Standalone

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.xdist_group("approval"),  # one Airflow for all of it, which the last test looks through
    pytest.mark.skipif(
        len(set(PAUSES)) == 1, reason="tasks wait for people by themselves from Airflow 3.3 on"
    ),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc"),
]


class Desk:
    """Where people are asked.

    :param folder: takes the sources, outside of Airflow's home.
    """

    def __init__(self, airflow: Standalone, sandbox: RemoteSandbox, folder: Path) -> None:
        self.airflow = airflow
        self.sandbox = sandbox
        self._folder = folder
        folder.mkdir()
        self._run = ""

    def write(self, name: str, people: int) -> Path:
        """Write a source of so many people."""
        path = self._folder / f"{name}.csv"
        path.write_text("email\n" + "".join(f"{name}.{one}@example.fr\n" for one in range(people)))
        return path

    def begin(self, source: Path, **params: Any) -> None:
        """Trigger a run."""
        conf = {"source": str(source), **params}
        self._run = self.airflow.wait(
            "the run is made",
            lambda: self.airflow.ask("POST", "dags/approved/dagRuns", logical_date=None, conf=conf),
        )["dag_run_id"]

    @property
    def _instance(self) -> str:
        return f"dags/approved/dagRuns/{self._run}/taskInstances/upsert"

    @property
    def task(self) -> dict[str, Any]:
        return self.airflow.ask("GET", self._instance) or {}

    def until(self, *states: str) -> dict[str, Any]:
        """Wait until the task is in one of these states."""
        self.airflow.wait(f"the task is {states}", lambda: self.task.get("state") in states)
        return self.task

    def until_asked(self) -> None:
        """Wait until a person may answer."""
        self.airflow.until_asked("approved", self._run, "upsert")

    @property
    def question(self) -> dict[str, Any]:
        return self.airflow.ask("GET", f"{self._instance}/-1/hitlDetails")  # type: ignore[no-any-return]

    def answer(self, option: str, user: str = "ada") -> int:
        """Answer as a user; return the HTTP status."""
        path = f"{self._instance}/-1/hitlDetails"
        said = {"chosen_options": [option], "params_input": {}}
        headers = {"Authorization": f"Bearer {self.airflow.token(user)}"}
        url = f"{self.airflow.url}/api/v2/{path}"
        return requests.patch(url, json=said, headers=headers, timeout=60).status_code

    @property
    def report(self) -> dict[str, Any]:
        xcom = self.airflow.ask("GET", f"{self._instance}/xcomEntries/crm_report?deserialize=true")
        value = xcom["value"]
        return json.loads(value) if isinstance(value, str) else value  # type: ignore[no-any-return]

    def known(self, name: str) -> int:
        """How many people of a source are in the CRM."""
        people = self.sandbox.records("mindbaz", "subscribers")
        return sum(str(one["fields"]["1"]).startswith(f"{name}.") for one in people)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("approval")


@pytest.fixture(scope="module")
def desk(home: Path) -> Iterator[Desk]:
    with Sandbox.spawn() as sandbox:
        mindbaz = json.loads(sandbox.connections()["mindbaz_default"])
        mindbaz["extra"] = {**mindbaz["extra"], "max_retries": 0}
        airflow = Standalone(
            home / "airflow",
            [Path(__file__).with_name("approval_dags.py")],
            users={"ada": "admin", "eve": "viewer"},
            env={
                "AIRFLOW_CONN_MINDBAZ_DEFAULT": json.dumps(mindbaz),
                "AIRFLOW_CONN_RUNS": json.dumps({"conn_type": "sqlite", "host": str(home / "history.db")}),
            },
            CRM__HISTORY_CONN_ID="runs",
            SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL=1,
        )
        try:
            airflow.wait("the DAG is known", lambda: airflow.ask("GET", "dags/approved"))
            yield Desk(airflow, sandbox, home / "sources")
        finally:
            airflow.kill()


def test_approved(desk: Desk) -> None:
    desk.begin(desk.write("approved", 3))
    desk.until_asked()
    assert desk.question["subject"] == "3 of 3 rows would be written in Mindbaz"
    assert desk.question["options"] == ["Approve", "Reject"]
    assert desk.known("approved") == 0
    assert desk.answer("Approve", user="eve") == 403
    assert desk.answer("Approve") == 200
    assert desk.until("success", "failed")["state"] == "success"
    assert desk.known("approved") == 3
    assert (desk.report["state"], desk.report["approved_by"]) == ("success", "ada")


def test_refused(desk: Desk) -> None:
    desk.begin(desk.write("refused", 3))
    desk.until_asked()
    assert desk.answer("Reject") == 200
    task = desk.until("success", "failed", "up_for_retry")
    assert (task["state"], task["try_number"]) == ("failed", 1)
    assert desk.known("refused") == 0
    assert (desk.report["state"], desk.report["approved_by"]) == ("refused", None)
    assert desk.report["error"]["message"].startswith("ada has refused it at ")


def test_nobody_answers(desk: Desk) -> None:
    desk.begin(desk.write("late", 3), approval_timeout="20")
    assert desk.until("success", "failed", "up_for_retry")["state"] == "failed"
    assert desk.known("late") == 0
    assert desk.report["state"] == "refused"
    assert "within 20 s" in desk.report["error"]["message"]


def test_another_source_than_the_one_that_was_approved(desk: Desk) -> None:
    desk.begin(desk.write("changed", 3))
    desk.until_asked()
    desk.write("changed", 4)
    assert desk.answer("Approve") == 200
    assert desk.until("success", "failed", "up_for_retry")["state"] == "failed"
    assert desk.known("changed") == 0
    assert desk.report["state"] == "refused"


def test_a_retry_asks_nobody(desk: Desk) -> None:
    desk.begin(desk.write("retried", 6))
    desk.until_asked()
    desk.sandbox.fault("error_before", system="mindbaz", method="POST", after=1, times=1)
    assert desk.answer("Approve") == 200
    task = desk.until("success", "failed")
    desk.sandbox.clear()
    assert (task["state"], task["try_number"]) == ("success", 2)
    assert desk.known("retried") == 6
    assert (desk.report["approved_by"], desk.report["read"]) == ("ada", 6)


def test_no_address_is_in_anything_that_airflow_keeps(desk: Desk, home: Path) -> None:
    """After all runs above: its database, its logs, and the history."""
    with closing(sqlite3.connect(home / "history.db", isolation_level=None)) as history:
        states = {state for (state,) in history.execute("SELECT state FROM crm_run")}
    assert states == {"success", "refused", "failed"}
    files = [path for path in home.rglob("*") if path.is_file() and "sources" not in path.parts]
    assert any(path.name == "airflow.db" for path in files)
    assert any(path.suffix == ".log" and b"A person is asked" in path.read_bytes() for path in files)
    assert [path for path in files if b"@example.fr" in path.read_bytes()] == []
