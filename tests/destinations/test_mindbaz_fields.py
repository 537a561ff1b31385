"""What an upsert does where the site's list of fields cannot be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from requests_mock import ANY

from airflow_provider_crm.exceptions import CrmAuthenticationError, CrmInputError
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.mindbaz.fields import read_fields

BASE = "http://127.0.0.1:9/api/3"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> MindbazHook:
    connection = {
        "conn_type": "mindbaz",
        "host": "http://127.0.0.1:9/api",
        "password": "secret-key",
        "extra": {"site_id": 3},
    }
    monkeypatch.setenv("AIRFLOW_CONN_MINDBAZ_DEFAULT", json.dumps(connection))
    return MindbazHook()


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_ids_do_without_a_list_that_is_not_there(hook: MindbazHook, requests_mock: Any, status: int) -> None:
    requests_mock.get(f"{BASE}/fields/list", status_code=status)
    requests_mock.get(f"{BASE}/Subscribers", json={"success": True, "data": None, "error": None})
    field = read_fields(hook, names_needed=False).find("14")
    assert field is not None
    assert field.id == 14


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("names_needed", [True, False])
def test_a_wrong_key_is_found_before_any_row(
    hook: MindbazHook, requests_mock: Any, status: int, names_needed: bool
) -> None:
    requests_mock.get(ANY, status_code=status)
    with pytest.raises(CrmAuthenticationError):
        read_fields(hook, names_needed=names_needed)


@pytest.mark.parametrize("names_needed", [True, False])
def test_a_wrong_base_url_is_found_before_anybody_seems_unknown(
    hook: MindbazHook, requests_mock: Any, names_needed: bool
) -> None:
    requests_mock.get(f"{BASE}/fields/list", status_code=404)
    requests_mock.get(f"{BASE}/Subscribers", status_code=404)
    with pytest.raises(CrmInputError, match="check base URL"):
        read_fields(hook, names_needed=names_needed)
