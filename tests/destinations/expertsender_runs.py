"""ExpertSender's operators run against the sandbox, and the faults they meet, for the tests beside it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from airflow_provider_crm.operators.expertsender import (
    ExpertSenderDeleteCustomersOperator,
    ExpertSenderUpsertCustomersOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox

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

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.results_path = folder / "results.jsonl"
        self.rejects_path = folder / "rejects.jsonl"

    def upsert(self, rows: list[dict[str, Any]], **options: Any) -> Counter[str]:
        return self._run(ExpertSenderUpsertCustomersOperator, rows, options)

    def delete(self, rows: list[dict[str, Any]], **options: Any) -> Counter[str]:
        return self._run(ExpertSenderDeleteCustomersOperator, rows, options)

    def _run(self, operator: Any, rows: list[dict[str, Any]], options: dict[str, Any]) -> Counter[str]:
        self.sandbox.calls.clear()
        task = operator(
            task_id="task",
            source=rows,
            results_path=str(self.results_path),
            rejects_path=str(self.rejects_path),
            **{"max_rejects": 1.0, **options},
        )
        summary = task.execute({})
        ends = self.ends()
        assert sorted(ends) == list(range(1, len(rows) + 1)), "each row ends once"
        counts = Counter(ends.values())
        assert {name: summary[name] for name in counts} == counts
        assert summary["read"] == len(rows)
        return counts

    def ends(self) -> dict[int, str]:
        lines = [json.loads(line) for line in self.results_path.read_text().splitlines()]
        assert len({line["row"] for line in lines}) == len(lines)
        return {line["row"]: line["outcome"] for line in lines}

    def reasons(self) -> dict[int, str]:
        lines = [json.loads(line) for line in self.rejects_path.read_text().splitlines()]
        return {line["row"]: f"{line['stage']}: {line['reason']}" for line in lines}

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
