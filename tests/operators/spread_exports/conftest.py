"""SPREAD as its exports find it: in Paris, and with nothing to wait for between tries."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.connections import set_connection


@pytest.fixture(autouse=True)
def _at_once(no_waiting: None) -> None:
    pass


@pytest.fixture
def spread(crm_sandbox: Sandbox) -> Iterator[Sandbox]:
    crm_sandbox.switch("spread", zone="Europe/Paris")
    yield crm_sandbox
    # A failed export leaves calls under way, which the next test would see.
    for thread in threading.enumerate():
        if thread.name.startswith("spread"):
            thread.join(10)


@pytest.fixture
def few_retries(spread: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    set_connection(monkeypatch, spread, "spread", max_retries=1)
    return spread
