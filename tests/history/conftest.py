"""A history in each database, as a task and as the web server have one."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from airflow_provider_crm.history.runs import TaskTry
from airflow_provider_crm.history.store import History
from airflow_provider_crm.history.tables import metadata

STARTED = dt.datetime(2026, 11, 20, 3, 0, tzinfo=dt.UTC)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.slow),
        pytest.param("mariadb", marks=pytest.mark.slow),
    ]
)
def url(request, tmp_path):
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.db'}"
    server = request.getfixturevalue({"postgresql": "postgres", "mariadb": "mariadb"}[request.param])
    engine = sa.create_engine(server)
    metadata.drop_all(engine)
    engine.dispose()
    return server


@pytest.fixture
def history(url):
    with History(sa.create_engine(url)) as history:
        yield history


def a_try(run_id="manual__1", *, dag_id="dag", task_id="sync", map_index=-1, try_number=1):
    return TaskTry(dag_id, task_id, run_id, map_index, try_number)


def a_report(state="success", **others):
    """A report as a writing task pushes it."""
    report = {
        "version": 1,
        "system": "mindbaz",
        "operator": "MindbazUpsertSubscribersOperator",
        "state": state,
        "read": 10,
        "created": 4,
        "updated": 3,
        "unchanged": 1,
        "skipped": 1,
        "rejected": 1,
        "requests": 7,
        "retries": 2,
        "seconds": 2.5,
        "started_at": "2026-11-20T03:00:00+00:00",
        "ended_at": "2026-11-20T03:00:02.500000+00:00",
        "last_row": 10,
        "reasons": [
            {"end": "rejected", "stage": "crm", "reason": "<email> is no address", "rows": 1},
            {"end": "skipped", "stage": None, "reason": "row 3 is about the same person", "rows": 1},
        ],
        "rejects_path": "/tmp/rejects.jsonl",
        "results_path": None,
        "error": None,
    }
    return report | others


@pytest.fixture
def add(history):
    """Add a run that has ended; gives its id."""

    def add(task=None, *, report=None, started_at=STARTED, goes_on=False, system="mindbaz"):
        number = history.begin(
            task or a_try(), system=system, operator="MindbazUpsertSubscribersOperator", started_at=started_at
        )
        history.end(number, report or a_report(), goes_on=goes_on)
        return number

    return add
