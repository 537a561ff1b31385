"""The example DAG that keeps Mindbaz as the source is, in a real Airflow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.sandbox.server import Sandbox

EXAMPLE = Path(__file__).parents[2] / "example_dags/mindbaz_mirror.py"


@pytest.mark.system
def test_the_mirror_example_runs(crm_sandbox: Sandbox, run_dag: Callable[..., Any], tmp_path: Path) -> None:
    source = tmp_path / "people.csv"
    conf = {
        "source": str(source),
        "snapshot": str(tmp_path / "state" / "mindbaz.snapshot"),
        "leavers_path": str(tmp_path / "leavers.jsonl"),
        "rejects_path": str(tmp_path / "rejects.jsonl"),
        "max_leavers": "0.5",
    }

    def run(rows: str, day: int) -> tuple[dict[str, Any], dict[str, Any]]:
        source.write_text(f"email,last_name,first_name\n{rows}")
        # The fifth of January 2026 is a Monday.
        result = run_dag(
            EXAMPLE, env=crm_sandbox.environ(), conf=conf, logical_date=f"2026-01-{day:02d}T03:00:00+00:00"
        )
        assert result["state"] == "success", result["log"]
        assert "example.fr" not in result["log"]
        tasks = result["tasks"]
        return tasks["upsert_subscribers"]["xcom"], tasks["unsubscribe_leavers"]["xcom"]

    first, _ = run("zoe@example.fr,Z,Z\nmax@example.fr,M,M\n", 5)
    assert first.items() >= {"created": 2, "known": 0, "leavers": 0}.items()
    second, left = run("zoe@example.fr,Z,Z\nada@example.fr,A,A\n", 6)
    assert second.items() >= {"created": 1, "unchanged": 1, "known": 1, "leavers": 1}.items()
    assert left.items() >= {"read": 1, "updated": 1}.items()
    assert [json.loads(line) for line in (tmp_path / "leavers.jsonl").read_text().splitlines()] == [
        {"email": "max@example.fr"}
    ]
    status = {line["fields"][1]: line["fields"][7] for line in crm_sandbox.records("mindbaz", "subscribers")}
    assert status == {"zoe@example.fr": 0, "max@example.fr": 1, "ada@example.fr": 0}
    sunday, none = run("zoe@example.fr,Z,Z\nada@example.fr,A,A\n", 11)
    assert sunday.items() >= {"unchanged": 2, "known": 0, "leavers": 0}.items()
    assert none["read"] == 0
