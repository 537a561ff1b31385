"""The retry policy in a real Airflow: what it decides is what happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm._compat import RetryPolicy
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.sandbox.server import Sandbox

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(RetryPolicy is object, reason="retry policies came with Airflow 3.3"),
]


def test_each_decision(run_dag: Any, crm_sandbox: Sandbox) -> None:
    crm_sandbox.spread.add_customer("zoe@example.fr")
    MindbazHook().create_subscribers([{"fields": {1: "zoe@example.fr"}}])
    crm_sandbox.calls.clear()
    crm_sandbox.fault("rate_limited", system="mindbaz", retry_after=60, times=1)
    crm_sandbox.fault("answer_before", system="expertsender", status=400, body="{}")
    crm_sandbox.fault("error_before", system="spread", status=503, times=1)
    env = crm_sandbox.environ()
    spread = {**json.loads(env["AIRFLOW_CONN_SPREAD_DEFAULT"]), "extra": {"max_retries": 0}}
    env["AIRFLOW_CONN_SPREAD_DEFAULT"] = json.dumps(spread)
    result = run_dag(Path(__file__).with_name("retry_policy_dag.py"), env=env)
    ends = {name: (task["state"], task["tries"]) for name, task in result["tasks"].items()}
    assert ends == {"told_when": ("success", 2), "refused": ("failed", 1), "busy": ("success", 2)}, result[
        "log"
    ]
    first, second = (call.at for call in crm_sandbox.calls if call.system == "mindbaz")
    assert second - first >= 3
