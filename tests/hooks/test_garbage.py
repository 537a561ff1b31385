"""Calls leave nothing to Python's garbage collector, which stops all threads of a process, a triggerer's among them.

Answered calls, that is: where a connection breaks, urllib3 itself leaves some.
"""

from __future__ import annotations

import gc
import logging
from contextlib import suppress
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmError
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.http.clock import Clock
from airflow_provider_crm.sandbox.server import Sandbox


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        None,
        {"kind": "error_before", "status": 503},
        {"kind": "rate_limited", "retry_after": 60},
        {"kind": "answer_before", "status": 404, "body": "{}"},
        {"kind": "answer_before", "status": 200, "body": "<html>busy</html>"},
    ],
    ids=lambda fault: str(fault and fault["kind"]),
)
def test_calls_leave_no_garbage(crm_sandbox: Sandbox, clock: Clock, fault: dict[str, Any] | None) -> None:
    if fault is not None:
        crm_sandbox.fault(system="mindbaz", **fault)
    hook = MindbazHook()
    hook.clock = clock
    hook.retry_budget = 1.0

    def look() -> None:
        with suppress(CrmError):
            hook.get_subscribers(["zoe@example.fr"])

    look()
    logging.disable(logging.CRITICAL)  # pytest keeps all records, with their errors
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            look()
        ours = [type(one).__name__ for one in unreachable() if "crm" in type(one).__module__]
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)
    assert ours == []


def unreachable() -> list[Any]:
    """Give what only the garbage collector would free."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return list(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
