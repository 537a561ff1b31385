"""Runs the upsert operator, and reads what it left in its files and at Mindbaz."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.sandbox.server import Sandbox

Row = dict[str, Any]


class Store(dict[str, Any]):
    """A state store as Airflow's."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Upsert:
    """Runs the operator on rows, and reads what it left."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.rejects_path = folder / "rejects.jsonl"
        self.results_path = folder / "results.jsonl"

    def __call__(self, source: Any, *, store: Store | None = None, **parameters: Any) -> dict[str, Any]:
        settings = {
            "max_rejects": 1.0,
            "rejects_path": str(self.rejects_path),
            "results_path": str(self.results_path),
            **parameters,
        }
        operator = MindbazUpsertSubscribersOperator(task_id="upsert", source=source, **settings)
        context: Any = {} if store is None else {"task_state_store": store}
        # Airflow 2 wraps the method in a way that works in the main thread only.
        summary: dict[str, Any] = inspect.unwrap(type(operator).execute)(operator, context)
        return summary

    @property
    def rejects(self) -> list[Row]:
        return [json.loads(line) for line in self.rejects_path.read_text().splitlines()]

    @property
    def results(self) -> list[Row]:
        lines = [json.loads(line) for line in self.results_path.read_text().splitlines()]
        return sorted(lines, key=lambda line: line["row"])

    @property
    def endings(self) -> list[str]:
        """How the rows ended, in the order of the source."""
        return [line["outcome"] for line in self.results]

    @property
    def reason(self) -> str:
        """Why the only rejected row was rejected."""
        (reject,) = self.rejects
        return str(reject["reason"])

    def writes(self) -> list[tuple[str, int]]:
        """The writing calls so far, as method and number of rows."""
        return [(call.method, call.rows) for call in self.sandbox.calls if call.method in ("POST", "PUT")]

    def held(self, email: str) -> dict[int, Any]:
        subscriber = self.sandbox.mindbaz.by_email(email)
        assert subscriber is not None, f"{email} is not there"
        return subscriber

    def emails(self) -> list[str]:
        return sorted(line["fields"][1] for line in self.sandbox.records("mindbaz", "subscribers"))
