"""How a list is cut into pages, whatever the parameters are called. Knows no CRM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from airflow_provider_crm.sandbox.wire import Call

Row = TypeVar("Row")


def page_of(call: Call, rows: Sequence[Row], start: int, size: int) -> Sequence[Row]:
    """Cut out a page, no larger than the fault ``page_cap`` allows, and note its rows in the call."""
    cap = call.hints.get("page_cap")
    page = rows[start : start + (size if cap is None else min(size, cap))]
    call.rows = len(page)
    return page
