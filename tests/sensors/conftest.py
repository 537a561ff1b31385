"""Sensors that look into the sandbox, and what Airflow hands to them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.state import TaskState


@pytest.fixture
def store() -> TaskState:
    return TaskState()


@pytest.fixture
def context(store: TaskState) -> dict[str, Any]:
    return {"ti": SimpleNamespace(try_number=1), "task_state_store": store}
