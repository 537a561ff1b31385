"""The sandbox' connections, with other parts and extras than its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_crm.sandbox.server import Sandbox

PARTS = ("conn_type", "host", "login", "password", "port", "schema")


def set_connection(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, system: str, **changes: Any) -> None:
    """Set the default connection of a system in the environment.

    :param system: the sandbox' name for it, such as ``mindbaz``.
    :param changes: parts of the connection, such as ``host``; anything else is an extra.
    """
    conn_id, connection = next(
        (conn_id, given)
        for conn_id, text in sandbox.connections().items()
        if (given := json.loads(text))["host"].startswith(f"{sandbox.url}/{system}")
    )
    parts = {name: changes.pop(name) for name in PARTS if name in changes}
    extra = {**(connection.get("extra") or {}), **changes}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({**connection, **parts, "extra": extra}))
