"""ExpertSender's operators run against the sandbox, and the faults they meet, for the tests beside it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from airflow_provider_crm.operators.expertsender import (
    ExpertSenderDeleteCustomersOperator,
    ExpertSenderUpsertCustomersOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.tasks import TaskRunner

AWAITING = "AwaitingConfirmation"
#: The faults that a call can meet once; with those of the lower row it may have been applied.
FAULTS: dict[str, dict[str, Any]] = {
    "rate_limited": {"kind": "rate_limited"},
    "error_before": {"kind": "error_before"},
    "drop_before": {"kind": "drop_before"},
    "html_before": {"kind": "html_before"},
    "error_after": {"kind": "error_after"},
    "drop_after": {"kind": "drop_after", "reset": True},
    "truncate": {"kind": "truncate"},
    "html_after": {"kind": "html_after"},
}


class Run:
    """Runs operators against the sandbox and looks at what became of it."""

    def __init__(self, sandbox: Sandbox, run_task: TaskRunner) -> None:
        self.sandbox = sandbox
        self._run_task = run_task

    def upsert(self, rows: list[dict[str, Any]], **options: Any) -> Counter[str]:
        return self._run(ExpertSenderUpsertCustomersOperator, rows, options)

    def delete(self, rows: list[dict[str, Any]], **options: Any) -> Counter[str]:
        return self._run(ExpertSenderDeleteCustomersOperator, rows, options)

    def _run(self, operator: Any, rows: list[dict[str, Any]], options: dict[str, Any]) -> Counter[str]:
        self.sandbox.calls.clear()
        return self._run_task(operator, rows, **options).counts

    def reasons(self) -> dict[int, str]:
        return {line["row"]: f"{line['stage']}: {line['reason']}" for line in self._run_task.rejects}

    def customer(self, email: str) -> dict[str, Any]:
        found = self.sandbox.expertsender.by_email(email)
        assert found is not None, f"{email} is not there"
        return found.show()

    def emails(self) -> set[str]:
        return {one["email"] for one in self.sandbox.records("expertsender", "customers")}

    def mailbox(self) -> Counter[tuple[str, int]]:
        mails = self.sandbox.records("expertsender", "mailbox")
        return Counter((mail["email"], mail["consent_id"]) for mail in mails)

    def posts(self) -> list[int]:
        return [call.rows for call in self.sandbox.calls if call.method == "POST"]

    def switch(self, **values: Any) -> None:
        self.sandbox.switch("expertsender", **values)

    def fault(self, kind: str, method: str = "POST", **settings: Any) -> Any:
        return self.sandbox.fault(
            kind, **{"system": "expertsender", "method": method, "times": 1, **settings}
        )
