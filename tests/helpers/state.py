"""The state of a task, as Airflow 3.3 keeps it."""

from __future__ import annotations

import json
from typing import Any


class TaskState(dict[str, Any]):
    """A task's state store: what is set goes through JSON, as on its way to Airflow."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)
