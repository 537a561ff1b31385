"""The fixture that runs DAGs tells the truth on every Airflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.system

DAG = """
from datetime import datetime
from airflow_provider_crm._compat import BaseHook, BaseOperator
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG


class Flaky(BaseOperator):
    template_fields = ("greeting",)

    def __init__(self, *, greeting, **kwargs):
        super().__init__(**kwargs)
        self.greeting = greeting

    def execute(self, context):
        if context["ti"].try_number == 1:
            raise ValueError("not yet")
        return {"greeting": self.greeting, "login": BaseHook.get_connection("some_crm").login}


class Plus(BaseOperator):
    def __init__(self, *, number, **kwargs):
        super().__init__(**kwargs)
        self.number = number

    def execute(self, context):
        if self.number > 2:
            raise ValueError("too much")
        return self.number + 1


with DAG("flaky", start_date=datetime(2024, 1, 1), schedule=None, params={"name": "nobody"}):
    flaky = Flaky(task_id="flaky", greeting="{{ ds }} hello {{ params.name }}", retries=2)
    flaky >> Plus.partial(task_id="plus").expand(number=[1, 2, 3])
"""


def test_it_tells_states_tries_and_xcoms(run_dag: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "flaky.py"
    path.write_text(DAG)
    for _ in range(2):  # a second run of the same date replaces the first
        result = run_dag(
            path,
            env={"AIRFLOW_CONN_SOME_CRM": "spread://me:secret-key@host"},
            conf={"name": "world"},
            logical_date="2024-05-01T00:00:00+00:00",
        )
        assert result["state"] == "failed"
        assert result["tasks"] == {
            "flaky": {
                "state": "success",
                "tries": 2,
                "xcom": {"greeting": "2024-05-01 hello world", "login": "me"},
            },
            "plus[0]": {"state": "success", "tries": 1, "xcom": 2},
            "plus[1]": {"state": "success", "tries": 1, "xcom": 3},
            "plus[2]": {"state": "failed", "tries": 1, "xcom": None},
        }
        assert "not yet" in result["log"]
        assert "secret-key" not in result["log"]


def test_it_fails_on_a_file_that_is_no_dag(run_dag: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("from airflow_provider_crm import nothing_of_that_name")
    with pytest.raises(pytest.fail.Exception, match="nothing_of_that_name"):
        run_dag(path)
