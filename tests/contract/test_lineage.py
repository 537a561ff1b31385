"""What OpenLineage's provider takes from every operator: what was read and written, with the numbers of rows."""

from __future__ import annotations

import inspect
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmError
from airflow_provider_crm.rows.sources import FileSource, SqlSource
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.lineage import NOT_INSTALLED, Told, extracted, told

from .entry import Export
from .test_reading import each_export
from .trial import Trial, each_first_mode

#: The provider takes a second to import.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    pytest.importorskip("airflow.providers.openlineage.extractors.base", reason=NOT_INSTALLED)


def made(trial: Trial, source: Any, **parameters: Any) -> Any:
    """Make the task of a trial, with another source."""
    given = {**trial.destination.parameters, **trial.mode.parameters, "max_rejects": 1.0, **parameters}
    return trial.destination.operator(task_id="task", source=source, **given)


def execute(task: Any) -> Any:
    return inspect.unwrap(type(task).execute)(task, {})


@each_first_mode
def test_a_write_names_its_file_and_what_it_has_changed(trial: Trial, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, default=str) + "\n" for row in trial.rows))
    task = made(trial, str(path))
    assert told(task) == ([], []), "nothing is known before it ran"
    summary = execute(task)
    [read], [(namespace, name, rows, size)] = told(task)
    assert read == ("file", str(path), len(trial.rows), None)
    assert namespace == trial.sandbox.url
    assert name.startswith(f"{trial.destination.system}/")
    assert name.endswith(f"/{task.resource}")
    assert (rows, size) == (summary["created"] + summary["updated"], None)


@each_first_mode
def test_a_dry_run_writes_nothing_and_a_list_is_in_no_store(trial: Trial) -> None:
    task = made(trial, trial.rows, dry_run=True)
    execute(task)
    assert told(task) == ([], [])


@each_first_mode
def test_a_failure_tells_what_was_done(trial: Trial, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, default=str) + "\n" for row in trial.rows))
    task = made(trial, FileSource(str(path)), max_rejects=0)
    if "rejected" not in trial.ends:
        pytest.skip("nothing in it fails")
    with pytest.raises(CrmError) as raised:
        execute(task)
    report = raised.value.report
    assert report is not None
    [read], [written] = told(task)
    assert read == ("file", str(path), len(trial.rows), None)
    assert written[2] == report["created"] + report["updated"]


@each_export
def test_an_export_names_what_it_has_read_and_its_file(
    entry: Export, crm_sandbox: Sandbox, tmp_path: Path
) -> None:
    entry.seed(crm_sandbox)
    path = tmp_path / "x.jsonl"
    task = entry.operator(task_id="export", path=str(path), **entry.parameters)
    assert told(task) == ([], [])
    rows = execute(task)["rows"]
    [(namespace, name, *counts)], [written] = told(task)
    assert (namespace, counts) == (crm_sandbox.url, [rows, None])
    assert name.startswith(f"{entry.system}/")
    assert written == ("file", str(path), rows, path.stat().st_size)


def test_the_keys_of_an_export_are_read_too(crm_sandbox: Sandbox, tmp_path: Path) -> None:
    from airflow_provider_crm.operators.mindbaz import MindbazExportSubscribersOperator

    keys = tmp_path / "keys.csv"
    keys.write_text("email\nanna@example.fr\n")
    task = MindbazExportSubscribersOperator(task_id="export", source=str(keys), path=str(tmp_path / "x.csv"))
    execute(task)
    read, _ = told(task)
    assert [(name, rows) for _, name, rows, _ in read[1:]] == [(str(keys), None)]


class TestQueries:
    """What a query tells of its tables."""

    @pytest.fixture
    def read(self, crm_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        from airflow_provider_crm.operators.mindbaz import MindbazUnsubscribeOperator

        database = tmp_path / "warehouse.db"
        connection = json.dumps({"conn_type": "sqlite", "host": str(database)})
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", connection)
        with closing(sqlite3.connect(database)) as warehouse:
            for table in ("leavers", "people"):
                warehouse.execute(f"CREATE TABLE {table} (email TEXT)")
                warehouse.execute(f"INSERT INTO {table} VALUES ('anna@example.fr')")
            warehouse.commit()

        def read(sql: str, *parameters: str) -> list[Told]:
            task = MindbazUnsubscribeOperator(
                task_id="task", source=SqlSource("warehouse", sql, parameters=list(parameters))
            )
            execute(task)
            lineage = extracted(task)
            assert "anna" not in str(lineage), "what a query looks for may be somebody's data"
            assert {one.namespace for one in lineage.inputs} <= {f"sqlite://{database}"}
            return told(task)[0]

        return read

    def test_one_table(self, read: Any) -> None:
        [(_, name, rows, _)] = read("SELECT email FROM leavers WHERE email = 'anna@example.fr'")
        assert (name, rows) == ("leavers", 1)

    def test_of_a_join_nobody_knows_the_rows_of_each(self, read: Any) -> None:
        found = read(
            "WITH gone AS (SELECT email FROM leavers) SELECT email FROM gone JOIN people USING (email)"
        )
        assert sorted((name, rows) for _, name, rows, _ in found) == [("leavers", None), ("people", None)]

    def test_a_query_without_a_table(self, read: Any) -> None:
        assert read("SELECT 'anna@example.fr' AS email") == []

    def test_parameters_stay_out(self, read: Any) -> None:
        [(_, name, _, _)] = read("SELECT email FROM leavers WHERE email = ?", "anna@example.fr")
        assert name == "leavers"
