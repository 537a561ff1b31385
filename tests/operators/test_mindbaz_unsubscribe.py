"""The Mindbaz unsubscribe operator in a real Airflow: its example DAG against the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.sandbox.server import Sandbox

EXAMPLE = Path(__file__).parents[2] / "example_dags/mindbaz_unsubscribe.py"


@pytest.mark.system
def test_the_example_runs(crm_sandbox: Sandbox, run_dag: Callable[..., Any], tmp_path: Path) -> None:
    crm_sandbox.mindbaz.insert({1: "zoe@example.fr"})
    crm_sandbox.mindbaz.insert({1: "max@example.fr", 7: 9})
    source, results = tmp_path / "unsubscribed.csv", tmp_path / "results.jsonl"
    source.write_text("email\nZoe@example.fr\nmax@example.fr\nnobody@example.fr\n")
    conf = {
        "source": str(source),
        "rejects_path": str(tmp_path / "rejects.jsonl"),
        "results_path": str(results),
    }
    run = run_dag(EXAMPLE, env=crm_sandbox.environ(), conf=conf)
    assert run["state"] == "success", run["log"]
    summary = run["tasks"]["unsubscribe"]["xcom"]
    assert summary.items() >= {"read": 3, "updated": 1, "unchanged": 1, "skipped": 1, "rejected": 0}.items()
    ends = [json.loads(line) for line in results.read_text().splitlines()]
    assert {end["row"]: end["outcome"] for end in ends} == {1: "updated", 2: "unchanged", 3: "skipped"}
    zoe = crm_sandbox.mindbaz.by_email("zoe@example.fr")
    assert zoe is not None
    assert zoe[7] == 1
    assert zoe[4]
    assert "zoe@example.fr" not in run["log"].lower()
