"""A real Airflow with users of different rights, a stand-in for the CRMs, and the Chromium that is installed.

``CRM_TEST_PICTURES=docs/pictures uv run pytest tests/browser`` writes the pictures of the docs; without it no file is.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_crm._compat import SharedStreamProducer
from airflow_provider_crm.sandbox.remote import RemoteSandbox
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.standalone import Standalone
from tests.helpers.waits import patience

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

#: Who may sign in, with their names as passwords: one may do all, one may read one DAG.
USERS = {"admin": "admin", "only_newsletter": "viewer"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder."""
    folder = f"{Path(__file__).parent}{os.sep}"
    for item in items:
        if str(item.path).startswith(folder):
            for name in ("browser", "system", "slow"):
                item.add_marker(name)
            item.add_marker(pytest.mark.xdist_group("browser"))  # one Airflow for all of it


@pytest.fixture(scope="session")
def chromium() -> str:
    """The Chromium that is installed; without one, nothing here runs."""
    if SharedStreamProducer is object:
        pytest.skip("the pages are looked at in Airflow 3.3")
    pytest.importorskip("playwright.sync_api", reason="nothing drives a browser here (playwright)")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    return CHROMIUM


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A Chromium without a window. While it is there, the thread has an event loop, which other tests may not have."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--no-proxy-server", "--force-color-profile=srgb"]
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def crm() -> Iterator[RemoteSandbox]:
    """The CRMs that Airflow's tasks talk to."""
    with Sandbox.spawn() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def airflow_web(
    chromium: str, crm: RemoteSandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Standalone]:
    """An Airflow with the DAGs of ``dags/``, connections to the CRMs, and a history."""
    home = tmp_path_factory.mktemp("airflow")
    history = json.dumps({"conn_type": "sqlite", "host": str(home / "history.db")})
    airflow = Standalone(
        home / "home",
        [*sorted(Path(__file__).with_name("dags").glob("*.py")), _example(home)],
        users=USERS,
        env={**crm.environ(), "AIRFLOW_CONN_CRM_HISTORY": history},
        CRM__HISTORY_CONN_ID="crm_history",
        CORE__TEST_CONNECTION="Enabled",
    )
    try:
        airflow.wait("Airflow is up", lambda: airflow.ask("GET", "monitor/health"))
        airflow.wait("the DAGs are known", lambda: airflow.ask("GET", "dags/customers"))
        yield airflow
    finally:
        airflow.kill()


def _example(folder: Path) -> Path:
    """The example of a DAG that answers start, which looks each second here and writes where anybody may."""
    text = (Path(__file__).parents[2] / "example_dags/spread_consents_to_mindbaz.py").read_text()
    for old, new in (
        ("EventTrigger(CONSENT_ID)", "EventTrigger(CONSENT_ID, poll_interval=1)"),
        ("/data/consents", str(folder)),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = folder / "consents.py"
    path.write_text(text)
    return path


@pytest.fixture
def look(browser: Browser, airflow_web: Standalone) -> Iterator[Callable[..., Page]]:
    """Open a browser of somebody's: ``look("admin", dark=True)``; nobody is signed in without a name."""
    contexts = []

    def look(name: str | None, *, dark: bool = False, height: int = 900) -> Page:
        context = browser.new_context(
            base_url=airflow_web.url,
            color_scheme="dark" if dark else "light",
            viewport={"width": 1280, "height": height},
            locale="en-GB",
        )
        context.set_default_timeout(patience(60) * 1000)
        contexts.append(context)
        if name is not None:
            context.add_cookies(
                [{"name": "_token", "value": airflow_web.token(name), "url": airflow_web.url}]
            )
        return context.new_page()

    yield look
    for context in contexts:
        context.close()


@pytest.fixture
def picture() -> Callable[..., None]:
    """Take a picture for the docs, when pictures are wanted: ``picture(page, "name", of=page.locator("form"))``."""
    folder = os.environ.get("CRM_TEST_PICTURES")

    def picture(page: Page, name: str, *, of: Any = None) -> None:
        if folder:
            (of or page).screenshot(path=Path(folder) / f"{name}.png")

    return picture


@pytest.fixture(scope="session")
def run_dag_there(airflow_web: Standalone) -> Callable[..., str]:
    """Run a DAG in this Airflow until its run is in one of some states; returns the run's id."""

    def run(dag_id: str, *, until: tuple[str, ...] = ("success", "failed"), **conf: Any) -> str:
        made = airflow_web.wait(
            f"a run of {dag_id}",
            lambda: airflow_web.ask("POST", f"dags/{dag_id}/dagRuns", logical_date=None, conf=conf),
        )
        run_id: str = made["dag_run_id"]
        airflow_web.wait(
            f"{dag_id} is one of {until}",
            lambda: (airflow_web.ask("GET", f"dags/{dag_id}/dagRuns/{run_id}") or {}).get("state") in until,
        )
        return run_id

    return run
