"""Sensors that look into the sandbox, and what Airflow hands to them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


class StateStore:
    """A task's state, as Airflow 3.3 keeps it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value


@pytest.fixture
def store() -> StateStore:
    return StateStore()


@pytest.fixture
def context(store: StateStore) -> dict[str, Any]:
    return {"ti": SimpleNamespace(try_number=1), "task_state_store": store}
