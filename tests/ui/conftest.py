"""The web server of a real Airflow, in this process, with our plugin, users with different rights, and a history."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm._compat import HAS_PAGES
from airflow_provider_crm.history.store import History
from tests.history.conftest import add, history  # noqa: F401

if not HAS_PAGES:
    collect_ignore_glob = ["test_pages*.py"]

#: The DAGs that Airflow knows.
DAG_IDS = ("dag", "other")


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The history that the page shows."""
    path = tmp_path / "history.db"
    monkeypatch.setenv("AIRFLOW_CONN_RUNS", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    monkeypatch.setenv("AIRFLOW__CRM__HISTORY_CONN_ID", "runs")
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def web_server(airflow_db: Path) -> Iterator[Any]:
    """Airflow's web server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "tests.helpers.auth.PerDagAuthManager")
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of the tests" * 4)
        from airflow.api_fastapi.app import create_app
        from airflow.models.dag import DagModel
        from airflow.models.dagbundle import DagBundleModel
        from airflow.utils.session import create_session

        with create_session() as session:
            session.merge(DagBundleModel(name="tests"))
            session.flush()
            for dag_id in DAG_IDS:
                session.merge(DagModel(dag_id=dag_id, bundle_name="tests"))
        yield create_app()


@pytest.fixture
def browse(web_server: Any, history: History) -> Callable[..., Any]:  # noqa: F811
    """Ask the page as somebody: ``browse("/crm/", "admin")``; nobody is signed in without a name."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    def browse(
        path: str, name: str | None = "admin", *, role: str = "viewer", accept: str = "text/html"
    ) -> Any:
        client = TestClient(web_server, follow_redirects=False)
        if name is not None:
            user = SimpleAuthManagerUser(username=name, role="admin" if name == "admin" else role)
            client.cookies.set("_token", get_auth_manager().generate_jwt(user))
        return client.get(path, headers={"Accept": accept})

    return browse


@contextmanager
def counted(statements: list[str]) -> Iterator[None]:
    """Note the statements that databases are sent, but for those of Airflow's own."""
    import sqlalchemy as sa

    def note(connection: Any, cursor: Any, statement: str, *others: Any) -> None:
        if "crm_run" in statement:
            statements.append(statement)

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)
