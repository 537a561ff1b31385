"""Ways to run an export, to read its file, and to see what SPREAD was asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS


def export(
    operator: Any, path: Path, context: dict[str, Any] | None = None, **parameters: Any
) -> dict[str, Any]:
    task = operator(task_id="export", path=str(path), **parameters)
    summary: dict[str, Any] = task.execute(context or {})
    assert summary["path"] == str(path)
    assert summary["bytes"] == path.stat().st_size
    return summary


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def answer(
    sandbox: Sandbox, at: str, *, customer: str | None = None, consent: int = 0, status: str = "accepted"
) -> str:
    """Give an answer at a local time; returns its track id."""

    spread = sandbox.spread
    customer = customer or next(iter(spread.customers))
    return spread.consents.add(customer, DEFINITIONS[consent], status, at, "manualImport").track_id


def spread_calls(sandbox: Sandbox) -> list[Any]:
    return [call for call in sandbox.calls if call.system == "spread"]
