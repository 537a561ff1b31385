"""SPREAD as its exports find it: in Paris, and with nothing to wait for between tries."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from airflow_provider_crm.http import retry
from airflow_provider_crm.sandbox.server import Sandbox


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)


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
    connection = json.loads(spread.connections()["spread_default"])
    connection["extra"] = {**(connection.get("extra") or {}), "max_retries": 1}
    monkeypatch.setenv("AIRFLOW_CONN_SPREAD_DEFAULT", json.dumps(connection))
    return spread
