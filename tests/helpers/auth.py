"""Airflow's simple auth manager, with users who may read one DAG alone: it has roles, but no rights to single DAGs."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class PerDagAuthManager(SimpleAuthManager):
    """A user named ``only_<dag id>`` may read what is of this DAG; all others may do what their role says."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, **others: Any) -> bool:
        only, _, dag_id = user.get_name().partition("only_")
        if not only and dag_id and details is not None and details.id not in (None, dag_id):
            return False
        return super().is_authorized_dag(user=user, details=details, **others)
