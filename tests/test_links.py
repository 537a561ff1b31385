"""Links: where a file is in a browser, and that Airflow makes and keeps them."""

from __future__ import annotations

import importlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_crm import links
from airflow_provider_crm.get_provider_info import get_provider_info
from airflow_provider_crm.sandbox.server import Sandbox


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/data/rejects of may.jsonl", "file:///data/rejects%20of%20may.jsonl"),
        (
            "s3://aws@bucket/a/b c.jsonl",
            "https://s3.console.aws.amazon.com/s3/object/bucket?prefix=a/b%20c.jsonl",
        ),
        (
            "gs://bucket/a/b.jsonl",
            "https://console.cloud.google.com/storage/browser/_details/bucket/a/b.jsonl",
        ),
        ("abfs://container/a.jsonl", "abfs://container/a.jsonl"),
        ("rejects.jsonl", "rejects.jsonl"),
    ],
)
def test_where_a_file_is(path: str, address: str) -> None:
    assert links.web_address(path) == address


TI_KEY = SimpleNamespace(dag_id="my dag", task_id="sync", run_id="manual__1+00:00", map_index=3, try_number=2)


@pytest.mark.parametrize("base_url", ["", "https://example.fr/team/"])
def test_where_a_run_is(base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    monkeypatch.setenv("AIRFLOW__CRM__HISTORY_CONN_ID", "runs")
    address = links.CrmRunLink().get_link(SimpleNamespace(history_conn_id=None), ti_key=TI_KEY)
    query = "task_id=sync&run_id=manual__1%2B00%3A00&map_index=3&try_number=2"
    assert address == f"{base_url.rstrip('/')}/crm/dags/my%20dag/try?{query}"


@pytest.mark.parametrize(("shown", "own", "there"), [("", "a", False), ("a", "", True), ("a", "b", False)])
def test_only_a_run_that_the_page_knows_has_a_link(
    shown: str, own: str, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CRM__HISTORY_CONN_ID", shown)
    link = links.CrmRunLink().get_link(SimpleNamespace(history_conn_id=own), ti_key=TI_KEY)
    assert bool(link) is there


def test_all_links_are_registered() -> None:
    written = {
        f"{links.__name__}.{name}"
        for name, value in vars(links).items()
        if isinstance(value, type) and value.__module__ == links.__name__
    }
    assert set(get_provider_info()["extra-links"]) == written
    for path in written:
        module, _, name = path.rpartition(".")
        link = getattr(importlib.import_module(module), name)()
        assert link.name


@pytest.mark.system
def test_a_task_that_fails_links_to_its_rejects(
    run_dag: Any, crm_sandbox: Sandbox, airflow_db: Path, tmp_path: Path
) -> None:
    source, rejects = tmp_path / "subscribers.csv", tmp_path / "rejects.jsonl"
    source.write_text("email,last_name,first_name,client_id,status,origin\nnobody,N,Z,C1,0,\n")
    conf = {
        "source": str(source),
        "rejects_path": str(rejects),
        "results_path": str(tmp_path / "results.jsonl"),
        "max_rejects": "0",
    }
    example = Path(__file__).parents[1] / "example_dags/mindbaz_upsert.py"
    result = run_dag(example, env=crm_sandbox.environ(), conf=conf)
    assert result["state"] == "failed", result["log"]
    with closing(sqlite3.connect(airflow_db, isolation_level=None)) as database:
        found = dict(
            database.execute("select key, value from xcom where run_id = ?", [result["run_id"]]).fetchall()
        )
    assert json.loads(found[links.REJECTS_KEY]) == str(rejects), result["log"]
    if links.BaseOperatorLink.__module__.startswith("airflow.sdk"):
        assert json.loads(found["_link_RejectsFileLink"]) == rejects.as_uri(), result["log"]
        assert json.loads(found["_link_MindbazLink"]) == "https://my.mindbaz.com"
