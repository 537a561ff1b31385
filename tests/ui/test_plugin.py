"""That Airflow finds the page, and what it costs a process that does not show it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution

import pytest

from airflow_provider_crm._compat import HAS_PAGES
from airflow_provider_crm.ui.plugin import CrmSyncsPlugin


def test_airflow_finds_it() -> None:
    (entry,) = distribution("airflow-provider-crm").entry_points.select(group="airflow.plugins")
    assert entry.load() is CrmSyncsPlugin


@pytest.mark.slow
def test_it_is_under_browse_where_airflow_has_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.fr/team/airflow/")
    plugin = CrmSyncsPlugin()
    assert [app["url_prefix"] for app in plugin.fastapi_apps] == ["/crm"] * HAS_PAGES
    assert [(view["href"], view["category"]) for view in plugin.external_views] == [
        ("/team/airflow/crm/", "browse")
    ] * HAS_PAGES


@pytest.mark.slow
def test_airflow_loads_it_without_an_error() -> None:
    script = """
import sys
from airflow import plugins_manager
plugins_manager.ensure_plugins_loaded()
names = ("_get_plugins", "plugins", "import_errors")
get, plugins, errors = (getattr(plugins_manager, name, None) for name in names)
plugins, errors = get() if get else (plugins, errors)
print("crm_syncs" in [plugin.name for plugin in plugins], errors, "fastapi" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True {} False"
