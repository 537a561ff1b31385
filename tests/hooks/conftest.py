"""Hooks on connections made up for a test, by a clock that nobody has to wait for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_crm._compat import Connection
from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.http.clock import Clock

MakeHook = Callable[..., Any]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> MakeHook:
    """Make a hook of a class on a connection with the given parts; ``extra`` is a dict or text."""

    def make(hook_class: type[CrmHook[Any]], concurrency: int | None = None, **parts: Any) -> CrmHook[Any]:
        if isinstance(parts.get("extra"), dict):
            parts["extra"] = json.dumps(parts["extra"])

        def get_connection(conn_id: str) -> Connection:
            return Connection(conn_id=conn_id, **{"conn_type": hook_class.conn_type, **parts})

        hook = hook_class(concurrency=concurrency)  # type: ignore[call-arg]
        monkeypatch.setattr(hook, "get_connection", get_connection)
        hook.clock = clock
        return hook

    return make


@pytest.fixture
def spread(make: MakeHook) -> SpreadHook:
    return make(SpreadHook, login="public-key", password="private-key")  # type: ignore[no-any-return]


@pytest.fixture
def mindbaz(make: MakeHook) -> MindbazHook:
    return make(MindbazHook, password="api-key", extra={"site_id": 3})  # type: ignore[no-any-return]


@pytest.fixture
def expertsender(make: MakeHook) -> ExpertSenderHook:
    return make(ExpertSenderHook, password="api-key")  # type: ignore[no-any-return]
