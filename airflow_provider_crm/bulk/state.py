"""What Airflow keeps for a task from one try to the next, as far as it is used. Knows no CRM."""

from __future__ import annotations

from typing import Any, Protocol


class StateStore(Protocol):
    """Airflow's ``task_state_store`` (>= 3.3)."""

    def get(self, key: str, default: Any = None) -> Any: ...

    def set(self, key: str, value: Any) -> None: ...

    def delete(self, key: str) -> None: ...
