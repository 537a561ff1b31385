"""Airflow's operators have a parameter `email` too, whom to tell about a failure: never one's customers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_crm.operators.spread.exports import SpreadExportCustomersOperator
from airflow_provider_crm.sandbox.server import Sandbox


def test_the_filter_is_not_told_about_failures(crm_sandbox: Sandbox, tmp_path: Path) -> None:
    for name in ("zoe", "bert"):
        crm_sandbox.spread.add_customer(f"{name}@example.fr")
    path = tmp_path / "customers.jsonl"
    export = SpreadExportCustomersOperator(
        task_id="export", path=str(path), email="zoe@example.fr", window="all"
    )
    assert not export.email
    assert "person_email" in export.template_fields
    export.execute({})
    assert [json.loads(line)["email"] for line in path.read_text().splitlines()] == ["zoe@example.fr"]


@pytest.mark.filterwarnings("ignore:Setting email")  # Airflow has notifiers for it by now
def test_those_who_are_told_about_failures_are_no_filter(crm_sandbox: Sandbox, tmp_path: Path) -> None:
    crm_sandbox.spread.add_customer("zoe@example.fr")
    operators = {"email": ["operators@example.com"]}
    export = SpreadExportCustomersOperator(
        task_id="export", path=str(tmp_path / "customers.jsonl"), default_args=operators, window="all"
    )
    assert export.email == operators["email"]
    assert export.execute({})["rows"] == 1


def test_a_sensor_is_mapped_over_people_beside_those_who_are_told_about_failures() -> None:
    from airflow_provider_crm.sensors.spread import SpreadCustomerSensor

    operators = {"email": ["operators@example.com"]}
    sensor = SpreadCustomerSensor(
        task_id="wait", email=operators["email"], person_email="zoe@example.fr", default_args={}
    )
    assert sensor.person_email == "zoe@example.fr"
    sensor = SpreadCustomerSensor(task_id="wait", person_email="zoe@example.fr")
    assert sensor.person_email == "zoe@example.fr"
    assert not sensor.email
