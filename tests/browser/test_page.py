"""The page "CRM syncs" as people see it, after runs that went well, were rejected in part, aborted, or killed."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_crm.sandbox.remote import RemoteSandbox
from tests.helpers.standalone import Standalone

from .crm_page import in_frame, open_list

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
    airflow_web: Standalone, crm: RemoteSandbox, run_dag_there: Callable[..., str]
) -> Iterator[dict[str, str]]:
    """What has happened: the ids of the runs."""
    folder = Path(tempfile.mkdtemp(prefix="newsletter-"))  # a short path, for the pictures

    def newsletter(name: str, count: int, bad: int = 0) -> str:
        source = people(folder / f"{name}.csv", count, bad)
        return run_dag_there("newsletter", source=source, rejects=str(folder / f"{name}.rejects.jsonl"))

    found = {f"well {number}": newsletter(f"well{number}", 900 + 40 * number) for number in range(3)}
    found["rejects"] = newsletter("rejects", 950, bad=12)
    crm.fault("answer_before", system="mindbaz", status=401, after=9, body='{"message": "Unauthorized"}')
    found["aborted"] = newsletter("aborted", 940)
    crm.clear()
    found["killed"] = _killed(airflow_web, crm, run_dag_there, people(folder / "customers.csv", 300))
    yield found
    shutil.rmtree(folder)


def _killed(airflow: Standalone, crm: RemoteSandbox, run_dag_there: Callable[..., str], source: str) -> str:
    """Kill a task with SIGKILL while it works, and let the next try do it."""
    crm.fault("latency", system="spread", ms=2000)

    def calls() -> int:
        """Give how many were made by others than the watcher, which looks all the time."""
        return crm.calls.count("spread") - crm.calls.count("spread", "GET", "/customers-consents")

    before = calls()
    run_id = run_dag_there("customers", until=("running",), source=source)
    address = f"dags/customers/dagRuns/{run_id}/taskInstances/upsert_customers"
    airflow.wait("the task works", lambda: calls() > before)
    os.kill(
        airflow.wait("its process is known", lambda: (airflow.ask("GET", address) or {}).get("pid")),
        signal.SIGKILL,
    )
    crm.clear()
    airflow.wait(
        "the next try is done", lambda: (airflow.ask("GET", address) or {}).get("state") == "success"
    )
    return run_id


def test_the_runs_are_under_browse(runs: dict[str, str], look: Look, picture: Callable[..., None]) -> None:
    page = look("admin")
    frame = open_list(page)
    rows = frame.locator("section[aria-label=Runs] tbody tr")
    states = rows.locator(".state").all_inner_texts()
    assert states[:7] == ["Success", "No end known", "Failed", "Rejects", "Success", "Success", "Success"]
    picture(page, "crm_syncs")
    frame.get_by_label("State").select_option("Rejects")
    frame.get_by_role("button", name="Show").click()
    frame.get_by_role("link", name="Show all").wait_for()
    assert rows.count() == 1
    rows.get_by_role("link").click()
    frame.get_by_text("CrmRejectsError").first.wait_for()
    page.get_by_role("button", name="Browse").wait_for()  # it is still within Airflow


def test_a_run_with_rejects(
    runs: dict[str, str], airflow_web: Standalone, look: Look, picture: Callable[..., None]
) -> None:
    for dark in (True, False):
        page = look("admin", dark=dark, height=1180)
        frame = in_frame(page, runs["rejects"], "newsletter", "Rejects")
        text = " ".join(frame.locator("main").inner_text().split())
        assert "12 of 950 rows were rejected" in text
        rows = frame.locator("section[aria-labelledby=rows] tbody tr")
        assert rows.count() == 12
        assert rows.first.inner_text().split()[:2] == ["4", "validate"]
        picture(page, "crm_run_rejects_dark" if dark else "crm_run_rejects")
    for words in ("zoe", "Dupont", "nobody"):
        assert words not in text
    frame.get_by_role("link", name="Task and log in Airflow").click()
    page.wait_for_url(re.compile(r"/dags/newsletter/runs/.*/tasks/upsert_subscribers"))
    page.set_viewport_size({"width": 1280, "height": 620})
    page.get_by_text("12 rejected: this is not an e-mail address").wait_for()
    error = page.get_by_text("CrmRejectsError: 12 of 950 rows were rejected")
    page.keyboard.press("w")  # lines that are longer than the page is wide are wrapped
    error.click()  # without the frames of its stack
    error.hover(trial=True)
    picture(page, "task_log")


def test_a_run_that_was_aborted(runs: dict[str, str], look: Look, picture: Callable[..., None]) -> None:
    page = look("admin")
    frame = in_frame(page, runs["aborted"], "newsletter", "Failed")
    frame.get_by_role("heading", name="CrmAuthenticationError").wait_for()
    numbers = frame.locator("section[aria-labelledby=counts] dl").inner_text().split()
    read = int(numbers[numbers.index("read") + 1])
    assert 0 < read < 940
    assert read % 100 == 0
    picture(page, "crm_run_aborted")


def test_a_worker_that_was_killed(runs: dict[str, str], look: Look, picture: Callable[..., None]) -> None:
    page = look("admin")
    frame = in_frame(page, runs["killed"], "customers", "No end known")
    frame.get_by_text("Nobody knows how it ended").wait_for()
    tries = frame.locator("section[aria-labelledby=tries] tbody tr")
    assert tries.locator(".state").all_inner_texts() == ["Success", "No end known"]
    picture(page, "crm_run_killed")


def test_the_link_of_a_task_leads_to_its_run(runs: dict[str, str], look: Look) -> None:
    page = look("admin")
    page.goto(f"/dags/newsletter/runs/{runs['aborted']}/tasks/upsert_subscribers/details")
    link = page.get_by_role("link", name="CRM run")
    page.goto(str(link.get_attribute("href")))
    page.get_by_role("heading", name="newsletter · upsert_subscribers Failed").wait_for()
    page.get_by_text(runs["aborted"]).wait_for()


def test_a_viewer_sees_the_one_dag_they_may_read(runs: dict[str, str], look: Look) -> None:
    page = look("only_newsletter")
    frame = open_list(page)
    assert frame.locator("section[aria-label=Runs] tbody tr").count() == 5
    assert "customers" not in frame.locator("main").inner_text()
    assert "spread" not in frame.locator("main").inner_text()
    admin = look("admin")
    address = in_frame(admin, runs["killed"], "customers", "No end known").owner.evaluate(
        "f => f.contentDocument.URL"
    )
    assert "/crm/dags/customers/runs/" in address
    answer = page.goto(address)
    assert answer is not None
    assert answer.status == 403
    page.get_by_text("You may not read the reports of this DAG").wait_for()
    assert runs["killed"] not in page.content()


def test_nobody_sees_anything_before_they_have_signed_in(runs: dict[str, str], look: Look) -> None:
    page = look(None)
    page.goto("/crm/?state=failed")
    page.get_by_role("button", name="Sign in").wait_for()
    assert "newsletter" not in page.content()
    page.get_by_label("Username").fill("only_newsletter")
    page.get_by_label("Password").fill("only_newsletter")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/crm/?state=failed")
    page.get_by_role("link", name="newsletter · upsert_subscribers").wait_for()
