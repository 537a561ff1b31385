"""How people get to the page "CRM syncs"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page


def open_list(page: Page) -> Any:
    """Go there as people do, by Airflow's menu; gives what is in the frame."""
    page.goto("/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="CRM syncs").click()
    frame = page.frame_locator("iframe")
    frame.get_by_role("heading", name="CRM syncs").wait_for()
    frame.locator("main + script").wait_for(state="attached")  # it is whole
    return frame


def in_frame(page: Page, run_id: str, dag_id: str, state: str) -> Any:
    """Open the run of a state in the page, within Airflow."""
    frame = open_list(page)
    rows = frame.locator("section[aria-label=Runs] tbody tr", has_text=state)
    rows.filter(has_text=dag_id).first.get_by_role("link").click()
    frame.get_by_text(run_id).first.wait_for()
    frame.locator("main + script").wait_for(state="attached")
    return frame
