"""How a connection to the sandbox is written down for Airflow: as JSON, as URI, as environment variable.

Knows Airflow's two formats but imports no Airflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from airflow_provider_crm.sandbox.wire import to_json


def as_json(connection: Mapping[str, Any]) -> str:
    """Return a connection as Airflow's JSON text."""
    return to_json(connection).decode()


def as_uri(connection: Mapping[str, Any]) -> str:
    """Return a connection as Airflow's URI: every part percent-encoded, the extras as JSON in ``__extra__``."""
    # A scheme has no underscores; Airflow turns the hyphens back.
    scheme = str(connection["conn_type"]).replace("_", "-")
    login, password, host = (
        quote(str(connection.get(part, "")), safe="") for part in ("login", "password", "host")
    )
    uri = f"{scheme}://{login}:{password}@{host}/"
    if extra := connection.get("extra"):
        uri += f"?__extra__={quote(to_json(extra).decode(), safe='')}"
    return uri


def variable(conn_id: str) -> str:
    """Return the environment variable that Airflow reads a connection from."""
    return f"AIRFLOW_CONN_{conn_id.upper()}"
