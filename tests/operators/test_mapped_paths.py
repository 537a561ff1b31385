"""Instances of a mapped task do not write over each other's files, in a real Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.sandbox.server import Sandbox

pytestmark = pytest.mark.system


def test_a_path_that_is_the_same_for_all_is_refused(
    run_dag: Any, crm_sandbox: Sandbox, tmp_path: Path
) -> None:
    env = {**crm_sandbox.environ(), "CRM_TEST_FOLDER": str(tmp_path)}
    result = run_dag(Path(__file__).with_name("mapped_paths.py"), env=env)
    tasks = {name: task for name, task in result["tasks"].items() if "rejects_path" not in name}
    refused = {name for name, task in tasks.items() if task["state"] != "success"}
    same = {
        "same_text",
        "same_path",
        "same_results",
        "same_beside_others",
        "same_export",
        "same_group.upsert",
    }
    assert refused == {f"{name}[1]" for name in same}, result["log"]
    # At once: no retry can help.
    assert all(tasks[name]["tries"] == 1 for name in refused)
    assert len(tasks) == 2 * len(same) + 11
    for name in ("`rejects_path`", "`results_path`", "`path`"):
        assert f"{name} is the same for each instance of the mapped task" in result["log"]
    assert "Put {{ ti.map_index }} into it" in result["log"]
    # What was refused has sent nothing, and overwritten nothing.
    assert crm_sandbox.calls.count("expertsender", "POST") == 5 + 4 * 2 + 1
    assert len(list(tmp_path.glob("[c-h]*.*"))) == 2 + 2 + 2 + 2 + 1 + 2
