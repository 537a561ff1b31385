"""The ExpertSender operators in a real Airflow: their example DAGs against the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.sandbox.server import Sandbox

EXAMPLES = Path(__file__).parents[2] / "example_dags"

CUSTOMERS = """\
email,phone,first_name,last_name,birthday,gender,city,newsletter
zoe@example.fr,+33 6 12 34 56 78,Zoé,Lefèvre,1990-05-17,female,Nîmes,AwaitingConfirmation
not an address,,,,,,,
max@example.fr,,Max,,,,,False
"""


@pytest.mark.system
def test_the_upsert_example_runs(crm_sandbox: Sandbox, run_dag: Callable[..., Any], tmp_path: Path) -> None:
    source, rejects = tmp_path / "customers.csv", tmp_path / "rejects.jsonl"
    source.write_text(CUSTOMERS)
    paths = {
        "source": str(source),
        "rejects_path": str(rejects),
        "results_path": str(tmp_path / "results.jsonl"),
    }
    run = run_dag(
        EXAMPLES / "expertsender_upsert.py", env=crm_sandbox.environ(), conf={**paths, "max_rejects": "0.5"}
    )
    assert run["state"] == "success", run["log"]
    summary = run["tasks"]["upsert_customers"]["xcom"]
    assert summary.items() >= {"read": 3, "updated": 2, "rejected": 1, "rejects_path": str(rejects)}.items()
    assert [json.loads(line)["row"] for line in rejects.read_text().splitlines()] == [2]
    zoe = crm_sandbox.expertsender.by_email("zoe@example.fr")
    assert zoe is not None
    assert (zoe.phone, zoe.gender, zoe.attributes) == ("+33612345678", "Female", {"Ville": "Nîmes"})
    assert [mail.email for mail in crm_sandbox.expertsender.mailbox] == ["zoe@example.fr"]
    for secret in ("zoe@example.fr", "612345678", "demo-key"):
        assert secret not in run["log"]


@pytest.mark.system
def test_the_delete_example_runs(crm_sandbox: Sandbox, run_dag: Callable[..., Any], tmp_path: Path) -> None:
    crm_sandbox.expertsender.add_customer("zoe@example.fr")
    crm_sandbox.expertsender.add_customer("max@example.fr")
    source = tmp_path / "erasures.csv"
    source.write_text("email\nzoe@example.fr\nnobody@example.fr\n")
    conf = {"source": str(source), "results_path": str(tmp_path / "results.jsonl"), "expected": "2"}
    run = run_dag(EXAMPLES / "expertsender_delete.py", env=crm_sandbox.environ(), conf=conf)
    assert run["state"] == "success", run["log"]
    summary = run["tasks"]["delete_customers"]["xcom"]
    assert summary.items() >= {"read": 2, "updated": 1, "skipped": 1, "rejected": 0}.items()
    assert crm_sandbox.expertsender.by_email("zoe@example.fr") is None
    assert crm_sandbox.expertsender.by_email("max@example.fr") is not None
    assert len(crm_sandbox.expertsender.anonymized) == 1
