"""Paths and queries are templates; rows never are, and are shown by their number."""

from __future__ import annotations

import copy
import datetime as dt
import json
import pickle
from typing import Any

import pytest
from airflow.serialization.helpers import serialize_template_field

from airflow_provider_crm.operators.mindbaz import (
    MindbazExportSubscribersOperator,
    MindbazUpsertSubscribersOperator,
)
from airflow_provider_crm.rows.sources import FileSource, SqlSource, open_source

try:
    from airflow.sdk import DAG
except ImportError:  # before 3.0
    from airflow.models.dag import DAG

SECRET = [{"email": "zoe@example.fr", "name": "{{ conn.mindbaz_default.password }}"}]


def _upsert(source: Any, **settings: Any) -> MindbazUpsertSubscribersOperator:
    return MindbazUpsertSubscribersOperator(task_id="upsert", source=source, **settings)


def _export(source: Any) -> MindbazExportSubscribersOperator:
    return MindbazExportSubscribersOperator(task_id="export", source=source, path="people.csv")


def _rows(task: Any) -> list[dict[str, Any]]:
    return [row.data for row in open_source(task.source)]


@pytest.mark.parametrize("make", [_upsert, _export])
@pytest.mark.parametrize("kind", [list, tuple])
def test_rows_are_not_rendered_and_not_shown(make: Any, kind: Any) -> None:
    task = make(kind(SECRET))
    task.render_template_fields({"conn": None})
    assert _rows(task) == SECRET
    assert serialize_template_field(task.source, "source") == "1 row"


def test_what_a_template_or_an_xcom_gave_is_not_shown_either() -> None:
    task = _upsert("{{ people }}")
    task.source = SECRET * 2  # as Airflow sets what it has rendered
    assert serialize_template_field(task.source, "source") == "2 rows"
    assert _rows(task) == SECRET * 2


def test_rows_survive_copies() -> None:
    task = _upsert(SECRET)
    assert _rows(copy.copy(task)) == _rows(copy.deepcopy(task)) == SECRET
    assert pickle.loads(pickle.dumps(task.source)) == SECRET


def test_rows_of_a_mapped_task_are_not_rendered() -> None:
    with DAG("mapped", schedule=None, start_date=dt.datetime(2024, 1, 1)):
        mapped = MindbazUpsertSubscribersOperator.partial(task_id="upsert").expand_kwargs(
            [{"source": SECRET}]
        )
    task: Any = mapped.unmap({"source": SECRET})
    task.render_template_fields({"conn": None})
    assert _rows(task) == SECRET


@pytest.mark.slow
def test_rows_are_not_in_the_serialized_dag() -> None:
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialization
    except ImportError:  # before 3.2
        from airflow.serialization.serialized_objects import SerializedDAG as Serialization  # type: ignore

    with DAG("people", schedule=None, start_date=dt.datetime(2024, 1, 1)) as dag:
        _upsert(SECRET)
    written = json.dumps(Serialization.to_dict(dag))
    assert "zoe@example.fr" not in written
    assert "1 row" in written


def test_a_path_is_rendered() -> None:
    task = _upsert("in/{{ ds }}.csv")
    task.render_template_fields({"ds": "2024-01-02"})
    assert task.source == "in/2024-01-02.csv"


@pytest.mark.parametrize("make", [_upsert, _export])
def test_each_run_renders_the_query_of_the_dag_file(make: Any) -> None:
    query = SqlSource("{{ which }}", "SELECT * FROM t WHERE day = '{{ ds }}'", {"day": "{{ ds }}"})
    task = make(query)
    for day in ("2024-01-02", "2024-01-03"):
        run = copy.copy(task)
        run.render_template_fields({"ds": day, "which": "warehouse"})
        assert run.source == SqlSource("warehouse", f"SELECT * FROM t WHERE day = '{day}'", {"day": day})
    assert task.source == query
    assert query.conn_id == "{{ which }}"


def test_each_run_renders_the_file_of_the_dag_file() -> None:
    task = _upsert(
        FileSource("in/{{ ds }}.csv", encoding="{{ code }}", delimiter=";", null_values=["", "{{ no }}"])
    )
    for day in ("2024-01-02", "2024-01-03"):
        run = copy.copy(task)
        run.render_template_fields({"ds": day, "code": "cp1252"})
        assert run.source == FileSource(
            f"in/{day}.csv", encoding="cp1252", delimiter=";", null_values=["", "{{ no }}"]
        )
