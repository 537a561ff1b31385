"""What Airflow finds by the entry point ``airflow.plugins``: the page, and its place under Browse.

Every Airflow process loads it, so it imports nothing but the base class; the web server alone asks for the page.
Before Airflow 3.1 there is none.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_crm._compat import HAS_PAGES
from airflow_provider_crm.links import PAGE, web_root


class CrmSyncsPlugin(AirflowPlugin):
    """The page "CRM syncs"."""

    name = "crm_syncs"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """What is served."""
        if not HAS_PAGES:
            return []
        from airflow_provider_crm.ui.app import make_app

        return [{"app": make_app(), "url_prefix": PAGE, "name": "CRM syncs"}]

    @cached_property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Where it stands in the menu."""
        if not HAS_PAGES:
            return []
        # Without the slash at the end Airflow's own interface would answer.
        address = f"{web_root(path_only=True)}{PAGE}/"
        return [{"name": "CRM syncs", "href": address, "url_route": "crm_syncs", "category": "browse"}]
