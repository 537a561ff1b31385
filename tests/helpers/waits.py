"""How tests wait: not at all for a server that asks for it, and longer where the machine has much to do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

from airflow_provider_crm.http.clock import Clock
from airflow_provider_crm.sandbox.server import Sandbox


def wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a thread that waits find the time passed, at once."""
    passed = threading.local()

    def skipped() -> float:
        return getattr(passed, "seconds", 0.0)

    def wait(clock: Clock, seconds: float) -> bool:
        passed.seconds = skipped() + max(seconds, 0.0)
        return clock.ended

    monkeypatch.setattr(Clock, "wait", wait)
    monkeypatch.setattr(Clock, "now", lambda clock: time.monotonic() + skipped())
    monkeypatch.setattr(Clock, "unix_time", lambda clock: time.time() + skipped())


def one_time(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """Let time pass for all threads and the sandbox, at once, whenever one of them waits."""
    passed = 0.0
    lock = threading.Lock()

    def wait(clock: Clock, seconds: float) -> bool:
        nonlocal passed
        with lock:
            passed += max(seconds, 0.0)
        return clock.ended

    def now() -> float:
        return time.monotonic() + passed

    monkeypatch.setattr(Clock, "wait", wait)
    monkeypatch.setattr(Clock, "now", lambda clock: now())
    monkeypatch.setattr(Clock, "unix_time", lambda clock: time.time() + passed)
    sandbox.go_by(now)


def patience(seconds: float) -> float:
    """Give the time after which something hangs: more on a machine that is busy.

    ``CRM_TEST_PATIENCE`` in the environment multiplies it.
    """
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    return seconds * busy * float(os.environ.get("CRM_TEST_PATIENCE", "1"))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, and fail where it never is."""
    deadline = time.monotonic() + patience(60)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
