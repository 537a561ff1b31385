"""Links: where a file is in a browser, and that Airflow makes and keeps them."""

from __future__ import annotations

import importlib
import json
import sqlite3
from pathlib import Path
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
    with sqlite3.connect(airflow_db) as database:
        found = dict(
            database.execute("select key, value from xcom where run_id = ?", [result["run_id"]]).fetchall()
        )
    assert json.loads(found[links.REJECTS_KEY]) == str(rejects), result["log"]
    if links.BaseOperatorLink.__module__.startswith("airflow.sdk"):
        assert json.loads(found["_link_RejectsFileLink"]) == rejects.as_uri(), result["log"]
        assert json.loads(found["_link_MindbazLink"]) == "https://my.mindbaz.com"
