"""The pytest fixture ``crm_sandbox``. Must import nothing that needs the sandbox's extra until the fixture is used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_crm.sandbox.server import Sandbox


@pytest.fixture(scope="session")
def crm_sandbox_server() -> Iterator[Sandbox]:
    """One server for the whole run; use ``crm_sandbox`` instead, which starts every test from nothing."""
    try:
        from airflow_provider_crm.sandbox.server import Sandbox
    except ImportError as error:
        pytest.fail(f"crm_sandbox needs airflow-provider-crm[sandbox]: {error}", pytrace=False)
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def crm_sandbox(crm_sandbox_server: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """An empty sandbox, with the default connections set in the environment.

    .. code-block:: python

        def test_upsert(crm_sandbox):
            run_my_dag()
            assert crm_sandbox.mindbaz.by_email("zoe@example.fr")[7] == 0
    """
    crm_sandbox_server.reset()
    for name, value in crm_sandbox_server.environ().items():
        monkeypatch.setenv(name, value)
    # A proxy of the machine must not be asked for the loopback address.
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, ",".join(filter(None, (os.environ.get(name), "127.0.0.1"))))
    return crm_sandbox_server
