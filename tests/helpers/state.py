"""The state of a task, as Airflow 3.3 keeps it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any


class TaskState(dict[str, Any]):
    """A task's state store: what is set goes through JSON, as on its way to Airflow."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


def second_try() -> dict[str, Any]:
    """What a task is told in its second try, before Airflow 3.3: that it is one, and nothing of the first."""
    return {"ti": SimpleNamespace(try_number=2, xcom_push=lambda key, value: None)}
