"""The example that erases people, in a real Airflow against the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.sandbox.server import Sandbox

pytestmark = pytest.mark.system

EXAMPLES = Path(__file__).parents[2] / "example_dags"


def test_erase_people(run_dag: Any, crm_sandbox: Sandbox, tmp_path: Path) -> None:
    crm_sandbox.spread.add_customer("anna@example.fr")
    crm_sandbox.expertsender.add_customer("anna@example.fr")
    crm_sandbox.mindbaz.insert({1: "anna@example.fr"})
    source = tmp_path / "requests.csv"
    source.write_text("email\nAnna@example.fr\n")
    folder = tmp_path / "privacy"
    result = run_dag(
        EXAMPLES / "erase_people.py",
        env=crm_sandbox.environ(),
        conf={"source": str(source), "expected": "1", "folder": str(folder), "approval": False},
    )
    assert result["state"] == "success", result["log"]
    (certificate,) = (path for path in folder.glob("*.jsonl") if path.name != "suppressed.jsonl")
    person, _ = map(json.loads, certificate.read_text().splitlines())
    assert person["dag_id"] == "erase_people"
    assert person["run_id"]
    assert {name: one["result"] for name, one in person["systems"].items()} == {
        "spread": "erased",
        "mindbaz": "by_hand",
        "expertsender": "anonymised",
    }
    assert not crm_sandbox.records("spread", "customers")
    assert not crm_sandbox.records("expertsender", "customers")
    assert len((folder / "suppressed.jsonl").read_text().splitlines()) == 1
