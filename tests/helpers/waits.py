"""How tests wait: not at all for a server that asks for it, and longer where the machine has much to do."""

from __future__ import annotations

import os

import pytest


def wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever is tried again be tried again at once."""
    from airflow_provider_crm.bulk import settle
    from airflow_provider_crm.http import retry

    monkeypatch.setattr(settle, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(retry._Wait, "__call__", lambda self, state: 0.0)


def patience(seconds: float) -> float:
    """Give the time after which something hangs: more on a machine that is busy.

    ``CRM_TEST_PATIENCE`` in the environment multiplies it.
    """
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    return seconds * busy * float(os.environ.get("CRM_TEST_PATIENCE", "1"))
