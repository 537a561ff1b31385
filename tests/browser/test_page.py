"""The page "CRM syncs" as people see it, after runs that went well, were rejected in part, aborted, or killed."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_crm.sandbox.remote import RemoteSandbox
from tests.helpers.standalone import Standalone

if TYPE_CHECKING:
    from playwright.sync_api import Page

Look = Callable[..., "Page"]


def people(path: Path, count: int, bad: int = 0) -> str:
    """Write a source of people, some of whom have no e-mail address that is one."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["email", "last_name", "first_name"])
        for number in range(count):
            name = f"nobody{number}" if number % 7 == 3 and number // 7 < bad else f"zoe{number}@example.fr"
            rows.writerow([name, "Dupont", "Zoé"])
    return str(path)


@pytest.fixture(scope="module")
def runs(
    airflow_web: Standalone, crm: RemoteSandbox, run_dag_there: Callable[..., str], tmp_path_factory: Any
) -> dict[str, str]:
    """What has happened: the ids of the runs."""
    folder = tmp_path_factory.mktemp("people")

    def newsletter(name: str, count: int, bad: int = 0) -> str:
        source = people(folder / f"{name}.csv", count, bad)
        return run_dag_there("newsletter", source=source, rejects=str(folder / f"{name}.rejects.jsonl"))

    found = {f"well {number}": newsletter(f"well{number}", 900 + 40 * number) for number in range(3)}
    found["rejects"] = newsletter("rejects", 950, bad=12)
    crm.fault("answer_before", system="mindbaz", status=401, after=9, body='{"message": "Unauthorized"}')
    found["aborted"] = newsletter("aborted", 940)
    crm.clear()
    found["killed"] = _killed(airflow_web, crm, run_dag_there, people(folder / "customers.csv", 300))
    return found


def _killed(airflow: Standalone, crm: RemoteSandbox, run_dag_there: Callable[..., str], source: str) -> str:
    """Kill a task with SIGKILL while it works, and let the next try do it."""
    crm.fault("latency", system="spread", ms=2000)
    calls = len(crm.calls)
    run_id = run_dag_there("customers", until=("running",), source=source)
    address = f"dags/customers/dagRuns/{run_id}/taskInstances/upsert_customers"
    airflow.wait("the task works", lambda: len(crm.calls) > calls)
    os.kill(
        airflow.wait("its process is known", lambda: (airflow.ask("GET", address) or {}).get("pid")),
        signal.SIGKILL,
    )
    crm.clear()
    airflow.wait(
        "the next try is done", lambda: (airflow.ask("GET", address) or {}).get("state") == "success"
    )
    return run_id


def open_list(page: Page) -> Any:
    """Go there as people do, by Airflow's menu; gives what is in the frame."""
    page.goto("/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="CRM syncs").click()
    frame = page.frame_locator("iframe")
    frame.get_by_role("heading", name="CRM syncs").wait_for()
    return frame


def test_the_runs_are_under_browse(runs: dict[str, str], look: Look, picture: Callable[..., None]) -> None:
    page = look("admin")
    frame = open_list(page)
    rows = frame.locator("section[aria-label=Runs] tbody tr")
    states = rows.locator(".state").all_inner_texts()
    assert states == ["Success", "No end known", "Failed", "Rejects", "Success", "Success", "Success"]
    picture(page, "crm_syncs")
    frame.get_by_label("State").select_option("Rejects")
    frame.get_by_role("button", name="Show").click()
    frame.get_by_role("link", name="Show all").wait_for()
    assert rows.count() == 1
    rows.get_by_role("link").click()
    frame.get_by_text("CrmRejectsError").first.wait_for()
