"""An erasure that somebody approves, and one that they refuse, where Airflow asks them."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_crm.sandbox.remote import RemoteSandbox
from tests.helpers.standalone import Standalone

from .crm_page import in_frame

if TYPE_CHECKING:
    from playwright.sync_api import Page

Look = Callable[..., "Page"]


@pytest.fixture
def people(crm: RemoteSandbox) -> Iterator[dict[str, str]]:
    """A request of two people, of whom SPREAD knows one."""
    crm.seed(1, ["spread"])
    known = crm.records("spread", "customers")[-1]["email"]
    with tempfile.TemporaryDirectory(prefix="requests-") as folder:  # a short path, for the pictures
        source = Path(folder, "people.csv")
        source.write_text(f"email\n{known}\nnobody@example.fr\n")
        yield {"source": str(source), "folder": folder}


def ask(airflow: Standalone, people: dict[str, str]) -> str:
    """Start an erasure; gives the run's id once somebody is asked."""
    made = airflow.wait(
        "the run is made",
        lambda: airflow.ask("POST", "dags/erase_people/dagRuns", logical_date=None, conf=people),
    )
    run_id: str = made["dag_run_id"]
    airflow.until_asked("erase_people", run_id, "erase")
    return run_id


def until(airflow: Standalone, run_id: str, state: str) -> None:
    path = f"dags/erase_people/dagRuns/{run_id}/taskInstances/erase"
    airflow.wait(f"the task is {state}", lambda: (airflow.ask("GET", path) or {}).get("state") == state)


def answer(page: Page, option: str, picture: Callable[..., None]) -> None:
    """Answer as people do: by Airflow's list of what is waiting for them."""
    page.goto("/required_actions?response_received=false")
    page.get_by_role("link", name=re.compile("would be erased")).first.click()
    page.get_by_text("Nothing was sent yet").first.wait_for()
    page.get_by_role("button", name=option, exact=True).wait_for()
    said = page.locator("body").inner_text()
    assert "1 of 2 rows would be erased in SPREAD, Mindbaz, ExpertSender CDP" in said
    assert "@" not in said
    picture(page, f"approval_{option.lower()}")
    page.get_by_role("button", name=option, exact=True).click()


def told(page: Page, run_id: str, state: str, picture: Callable[..., None], name: str) -> str:
    """Return what the page says of the run."""
    main = in_frame(page, run_id, "erase_people", state).locator("main")
    picture(page, name)
    return " ".join(main.inner_text().split())


def test_approved(
    look: Look, airflow_web: Standalone, crm: RemoteSandbox, people: dict[str, str], picture: Any
) -> None:
    held = len(crm.records("spread", "customers"))
    run_id = ask(airflow_web, people)
    assert len(crm.records("spread", "customers")) == held
    page = look("admin")
    answer(page, "Approve", picture)
    until(airflow_web, run_id, "success")
    assert len(crm.records("spread", "customers")) == held - 1
    lines = [
        json.loads(line) for line in Path(people["folder"], "certificate.jsonl").read_text().splitlines()
    ]
    assert {line["approved_by"] for line in lines} == {"admin"}
    text = told(page, run_id, "Success", picture, "crm_run_approved")
    assert "Approved by admin." in text
    assert "@" not in text


def test_refused(
    look: Look, airflow_web: Standalone, crm: RemoteSandbox, people: dict[str, str], picture: Any
) -> None:
    held = len(crm.records("spread", "customers"))
    run_id = ask(airflow_web, people)
    page = look("admin")
    answer(page, "Reject", picture)
    until(airflow_web, run_id, "failed")
    assert len(crm.records("spread", "customers")) == held
    assert not Path(people["folder"], "certificate.jsonl").exists()
    text = told(page, run_id, "Refused", picture, "crm_run_refused")
    assert "admin has refused it" in text
    assert "@" not in text
