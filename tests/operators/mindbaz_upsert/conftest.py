"""The operator against the sandbox, and what may happen around it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.bulk import checkpoint
from airflow_provider_crm.destinations.mindbaz.upserts import UpsertSubscribers
from airflow_provider_crm.sandbox.server import Sandbox

from .upserting import Upsert


@pytest.fixture
def upsert(crm_sandbox: Sandbox, tmp_path: Path, no_waiting: None) -> Upsert:
    return Upsert(crm_sandbox, tmp_path)


@pytest.fixture
def before_write(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Let something happen between the first look-up and the call that follows it."""

    def before_write(happens: Callable[[], Any]) -> None:
        apply = UpsertSubscribers.apply
        todo = [happens]

        def after_it_happened(self: UpsertSubscribers, steps: Any) -> Any:
            while todo:
                todo.pop()()
            return apply(self, steps)

        monkeypatch.setattr(UpsertSubscribers, "apply", after_it_happened)

    return before_write


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text("email,nom\nzoe@example.fr,Zoé\n")
    return path


@pytest.fixture
def impatient(crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up after the first try of a call; note what is done after each batch."""
    connection = json.loads(crm_sandbox.connections()["mindbaz_default"])
    connection["extra"]["max_retries"] = 0
    monkeypatch.setenv("AIRFLOW_CONN_MINDBAZ_DEFAULT", json.dumps(connection))
    monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0.0)
