"""Somebody's first day: the connections made in Airflow's forms, and tried."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_crm.sandbox.remote import RemoteSandbox

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.mark.parametrize(
    ("conn_type", "name", "says"),
    [
        ("spread", "SPREAD", "Connected"),
        ("mindbaz", "Mindbaz", "Connected"),
        ("expertsender_cdp", "ExpertSender CDP", "Connected"),
    ],
)
def test_a_connection_is_made_and_tried(
    conn_type: str,
    name: str,
    says: str,
    look: Callable[..., Page],
    crm: RemoteSandbox,
    picture: Callable[..., None],
) -> None:
    given = json.loads(crm.connections()[f"{conn_type}_default"])
    page = look("admin", height=1000)
    page.goto("/connections")
    page.get_by_role("button", name="Add Connection").first.click()
    form = page.get_by_role("dialog")
    form.locator("input[name=connection_id]").fill(f"{conn_type}_shop")
    form.get_by_role("combobox").first.click()
    page.keyboard.type(name)
    page.get_by_role("option", name=name, exact=True).click()
    _fill(form, given)
    picture(page, f"connection_{conn_type}")
    form.get_by_role("button", name="Save").click()
    form.wait_for(state="detached")
    row = page.get_by_role("row").filter(has_text=f"{conn_type}_shop")
    with page.expect_response(lambda answer: answer.url.endswith("/connections/test")) as tried:
        row.get_by_role("button", name="Test Connection").click()
    told = tried.value.json()
    assert told["status"] is True, told
    assert says in told["message"]
    picture(page, "connections")


def _fill(form: Any, given: dict[str, Any]) -> None:
    for field in ("host", "login", "password"):
        if given.get(field):
            form.locator(f"input[name={field}]").fill(given[field])
    form.locator("input[name=port]").fill(str(urlsplit(given["host"]).port))
    extra = given.get("extra") or {}
    if "site_id" in extra:
        form.get_by_text("Extra Fields", exact=True).click()
        form.locator("[name=element_site_id]").fill(str(extra["site_id"]))
