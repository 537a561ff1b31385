"""Clients of a CRM that the test makes up, by a clock that nobody has to wait for."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.http.auth import ApiKeyAuth
from airflow_provider_crm.http.client import HttpClient
from airflow_provider_crm.http.clock import Clock
from tests.helpers.servers import make_certificate

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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate of this machine: the file to trust, and what a server needs to show it."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the caller's shell say nothing of proxies and certificates."""
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "requests_ca_bundle",
        "curl_ca_bundle",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
