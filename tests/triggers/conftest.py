"""Triggers, each run in an event loop of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_crm.triggers.base import hook_cache, poll


@pytest.fixture(autouse=True)
def fresh_hook_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[hook_cache.HookCache]:
    """A triggerer that has looked no connection up, and whose calls are not tried again."""
    fresh = hook_cache.HookCache(retry_budget=0.0)
    monkeypatch.setattr(poll, "HOOK_CACHE", fresh)
    yield fresh
    fresh.close()
