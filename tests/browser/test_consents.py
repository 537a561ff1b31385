"""Answers that start a DAG: the asset between the watcher and the DAG, as Airflow draws it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.sandbox.remote import RemoteSandbox
from airflow_provider_crm.schemas.mindbaz.write import STATUS, UNSUBSCRIBED
from tests.helpers.standalone import Standalone

if TYPE_CHECKING:
    from playwright.sync_api import Page

EMAIL = "zoe@example.fr"


@pytest.fixture
def hooks(crm: RemoteSandbox, monkeypatch: pytest.MonkeyPatch) -> tuple[SpreadHook, MindbazHook]:
    """The CRMs, as the test talks to them."""
    for name, value in crm.environ().items():
        monkeypatch.setenv(name, value)
    return SpreadHook(), MindbazHook()


def test_an_opt_out_starts_the_dag(
    look: Callable[..., Page],
    airflow_web: Standalone,
    crm: RemoteSandbox,
    hooks: tuple[SpreadHook, MindbazHook],
    picture: Callable[..., None],
) -> None:
    spread, mindbaz = hooks
    customer = spread.create_customer({"email": EMAIL})
    mindbaz.create_subscribers([{"fields": {1: EMAIL}}])
    airflow_web.wait("the watcher looks", lambda: crm.calls.count("spread", "GET", "/customers-consents") > 1)
    now = datetime.now(UTC).replace(tzinfo=None)
    spread.create_consent(customer["id"], status="refused", consent_id=9876, created_at=now)

    def state() -> str | None:
        runs = airflow_web.ask("GET", "dags/spread_consents_to_mindbaz/dagRuns") or {}
        return next((run["state"] for run in runs.get("dag_runs", ())), None)

    airflow_web.wait("the DAG has run", lambda: state() in ("success", "failed"))
    assert state() == "success"
    (subscriber,) = mindbaz.get_subscribers([EMAIL], field_ids=[STATUS])
    assert subscriber["fields"][STATUS] == UNSUBSCRIBED

    page = look("admin", height=640)
    page.goto("/assets")
    page.get_by_role("link", name="spread_newsletter_answers").click()
    page.get_by_text("1 Asset Event", exact=True).wait_for()
    page.locator(".react-flow__edge").wait_for(state="attached")
    for name in ("spread_newsletter_answers", "spread_consents_to_mindbaz"):
        page.locator(".react-flow__node", has_text=name).hover(trial=True)  # it stands still
    picture(page, "asset_graph")
