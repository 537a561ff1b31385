"""Triggers, each run in an event loop of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_crm.triggers.base import hooks, poll


@pytest.fixture(autouse=True)
def fresh_hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[hooks.Hooks]:
    """A triggerer that has looked no connection up, and whose calls are not tried again."""
    fresh = hooks.Hooks()
    monkeypatch.setattr(poll, "HOOKS", fresh)
    monkeypatch.setattr(hooks, "RETRY_BUDGET", 0.0)
    yield fresh
    fresh.close()
