"""Sessions that speak to the stand-ins the way the vendors document it; nothing of the package's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from airflow_provider_crm.sandbox.server import Sandbox


class Api:
    """A base URL and the credentials for it.

    :param base: everything before the resource.
    """

    def __init__(self, base: str, **session: Any) -> None:
        self.base = base
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update(session.get("headers", {}))
        self.session.auth = session.get("auth")

    def __call__(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", 5)
        kwargs.setdefault("allow_redirects", False)
        return self.session.request(method, self.base + path, **kwargs)


@pytest.fixture
def mindbaz(crm_sandbox: Sandbox) -> Api:
    return Api(f"{crm_sandbox.url}/mindbaz/api/3", headers={"X-API-KEY": "demo-key"})


@pytest.fixture
def spread(crm_sandbox: Sandbox) -> Api:
    return Api(f"{crm_sandbox.url}/spread/api/v2", auth=("demo-public", "demo-private"))


@pytest.fixture
def expertsender(crm_sandbox: Sandbox) -> Api:
    return Api(f"{crm_sandbox.url}/expertsender", headers={"x-api-key": "demo-key"})
