"""A trial of every destination in every mode."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.connections import set_connection
from tests.helpers.tasks import TaskRunner
from tests.helpers.waits import one_time

from .entry import Destination
from .registry import DESTINATIONS
from .trial import Connect, Trial


def trials() -> Iterator[Any]:
    """List every destination in every mode; the first mode of each is tried after every change."""
    for destination in DESTINATIONS:
        for number, mode in enumerate(destination.modes):
            name = destination.name if len(destination.modes) == 1 else f"{destination.name}-{mode}"
            yield pytest.param((destination, mode), id=name, marks=[pytest.mark.slow] * bool(number))


@pytest.fixture(params=trials())
def each(request: pytest.FixtureRequest) -> tuple[Destination, str]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def connect(crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Set a system's connection: ``connect("mindbaz", max_retries=1)``."""
    return partial(set_connection, monkeypatch, crm_sandbox)


@pytest.fixture
def real_time() -> None:
    """Ask for it to have waits that last."""


@pytest.fixture
def trial(
    request: pytest.FixtureRequest,
    each: tuple[Destination, str],
    crm_sandbox: Sandbox,
    run_task: TaskRunner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Trial:
    if "real_time" not in request.fixturenames:
        one_time(monkeypatch, crm_sandbox)
    destination, mode = each
    ledger = {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_LEDGER_DEFAULT", json.dumps(ledger))
    return Trial(destination, mode, crm_sandbox, run_task)
