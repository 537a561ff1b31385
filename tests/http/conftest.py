"""Clients of a CRM that the test makes up, by a clock that nobody has to wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_crm.http.auth import ApiKeyAuth
from airflow_provider_crm.http.client import HttpClient
from airflow_provider_crm.http.clock import Clock

MakeClient = Callable[..., HttpClient]
HOST = "https://crm.example.com"


@pytest.fixture
def make_client(clock: Clock) -> Iterator[MakeClient]:
    """Make a client with the given settings; the others are good for a test."""
    made: list[HttpClient] = []

    def make(base_url: str = HOST, **settings: Any) -> HttpClient:
        given = {"auth": ApiKeyAuth("x-api-key", "api-key"), "called": "connection 'crm'", "clock": clock}
        made.append(HttpClient(base_url, **{**given, **settings}))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client: MakeClient) -> HttpClient:
    return make_client(max_retries=3)
