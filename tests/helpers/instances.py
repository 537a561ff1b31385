"""A task instance, as far as operators ask for one: who it is, and what it pushes."""

from __future__ import annotations

import json
import uuid
from typing import Any


class Instance:
    """Takes XComs as Airflow does: as JSON.

    :ivar xcoms: what was pushed, by its key.
    """

    def __init__(
        self,
        run_id: str = "manual__1",
        *,
        dag_id: str = "dag",
        task_id: str = "task",
        map_index: int = -1,
        try_number: int = 1,
    ) -> None:
        self.id = uuid.uuid4()
        self.dag_id = dag_id
        self.task_id = task_id
        self.run_id = run_id
        self.map_index = map_index
        self.try_number = try_number
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = json.loads(json.dumps(value))

    @property
    def report(self) -> dict[str, Any]:
        """The report of the run."""
        report: dict[str, Any] = self.xcoms["crm_report"]
        return report
