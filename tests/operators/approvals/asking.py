"""A task that asks a person, through pauses and tries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_crm._compat import PAUSES
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.approvals import Person
from tests.helpers.instances import Instance
from tests.helpers.state import TaskState
from tests.helpers.tasks import resume

Answering = Callable[[], dict[str, Any]]


def people(number: int) -> list[dict[str, str]]:
    return [{"1": f"p{one}@example.fr"} for one in range(number)]


class Task:
    """An upsert into Mindbaz, with its state, through pauses and tries."""

    def __init__(self, sandbox: Sandbox, person: Person) -> None:
        self.sandbox = sandbox
        self.person = person
        self.instance = Instance()
        self.store: Any = TaskState()
        self.pause: Any = None

    @property
    def _context(self) -> Any:
        return {"ti": self.instance, **({} if self.store is None else {"task_state_store": self.store})}

    @staticmethod
    def _operator(source: Any, **parameters: Any) -> Any:
        given = {"task_id": "task", "approval": True, "max_rejects": 1.0, **parameters}
        return MindbazUpsertSubscribersOperator(source=source, **given)

    def begin(self, source: Any, **parameters: Any) -> dict[str, Any] | None:
        """Begin a try; return what it returns, None where it waits for an answer."""
        self.instance.xcoms.clear()  # as Airflow does
        try:
            return self._operator(source, **parameters).execute(self._context)  # type: ignore[no-any-return]
        except PAUSES as pause:
            self.pause = pause
            return None

    def answered(self, answer: Answering, source: Any, **parameters: Any) -> dict[str, Any]:
        """Go on after an answer."""
        operator = self._operator(source, **parameters)
        return resume(operator, self.pause, answer(), self._context)  # type: ignore[no-any-return]

    @property
    def sent(self) -> int:
        """How many people are in the CRM."""
        return len(self.sandbox.mindbaz.subscribers)

    @property
    def report(self) -> dict[str, Any]:
        return self.instance.report
