"""The examples with sensors and watchers, run in a real Airflow against the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sandbox.spread.consents import API_SOURCE, DEFINITIONS

pytestmark = pytest.mark.system

EXAMPLES = Path(__file__).parents[2] / "example_dags"


def test_double_opt_in(run_dag: Any, crm_sandbox: Sandbox, tmp_path: Path) -> None:
    consents = {"consents": [{"id": 1, "value": "True"}]}
    ExpertSenderHook().upsert_customers([{"email": "zoe@example.fr", "consentsData": consents}])
    result = run_dag(
        EXAMPLES / "double_opt_in_sensor.py",
        env=crm_sandbox.environ(),
        conf={"rejects_path": str(tmp_path / "rejects.jsonl")},
    )
    assert result["state"] == "success", result["log"]
    assert result["tasks"]["wait_for_confirmation"]["xcom"] == {
        "by": "email",
        "consent_id": "1",
        "consent_value": "True",
    }
    assert crm_sandbox.mindbaz.by_email("zoe@example.fr")[7] == 0


def test_consents_to_mindbaz(run_dag: Any, crm_sandbox: Sandbox, tmp_path: Path) -> None:
    spread = crm_sandbox.spread

    def answer(email: str, *answers: str) -> None:
        customer = spread.by_email(email) or spread.add_customer(email)
        for number, status in enumerate(answers):
            spread.consents.add(
                customer.id, DEFINITIONS[0], status, f"2026-03-01 10:00:{number:02d}", API_SOURCE
            )

    answer("new@example.fr", "accepted")
    answer("Wavers@example.fr", "refused", "accepted")
    answer("leaves@example.fr", "accepted", "refused")
    answer("gone@example.fr", "accepted")
    answer("unsure@example.fr", "toBeConfirmed")
    MindbazHook().create_subscribers(
        [
            {"fields": {1: "wavers@example.fr", 7: 0}},
            {"fields": {1: "leaves@example.fr", 7: 0}},
            {"fields": {1: "gone@example.fr", 7: 1}},
        ]
    )
    result = run_dag(
        EXAMPLES / "spread_consents_to_mindbaz.py",
        env=crm_sandbox.environ(),
        conf={
            "folder": str(tmp_path),
            "created_after": "2026-03-01 09:59:59",
            "created_before": "2026-03-01 10:00:59",
        },
    )
    assert result["state"] == "success", result["log"]
    statuses = {
        one["fields"][1]: one["fields"][7]
        for one in MindbazHook().get_subscribers(
            [f"{name}@example.fr" for name in ("new", "wavers", "leaves", "gone", "unsure")], field_ids=[1, 7]
        )
    }
    assert statuses == {
        "new@example.fr": 0,
        "wavers@example.fr": 0,  # of two answers the later one holds
        "leaves@example.fr": 1,
        "gone@example.fr": 1,
    }
