"""Runs the upsert operator, and reads what it left in its files and at Mindbaz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.tasks import TaskRunner

Row = dict[str, Any]


class Upsert(TaskRunner):
    """Runs the operator on rows, and reads what it left."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        super().__init__(folder)
        self.sandbox = sandbox

    def __call__(self, source: Any, **parameters: Any) -> dict[str, Any]:  # type: ignore[override]
        return super().__call__(MindbazUpsertSubscribersOperator, source, **parameters).summary

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
