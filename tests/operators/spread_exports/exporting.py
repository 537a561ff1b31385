"""Answers to give in SPREAD, and what it was asked."""

from __future__ import annotations

from typing import Any

from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS


def answer(
    sandbox: Sandbox, at: str, *, customer: str | None = None, consent: int = 0, status: str = "accepted"
) -> str:
    """Give an answer at a local time; returns its track id."""

    spread = sandbox.spread
    customer = customer or next(iter(spread.customers))
    return spread.consents.add(customer, DEFINITIONS[consent], status, at, "manualImport").track_id


def spread_calls(sandbox: Sandbox) -> list[Any]:
    return [call for call in sandbox.calls if call.system == "spread"]
