"""Runs one operator as a worker does: with an ``execution_timeout``, and told to stop by a SIGTERM."""

from __future__ import annotations

import inspect
import signal
import sys
from typing import Any

from airflow_provider_crm.operators.expertsender import ExpertSenderUpsertCustomersOperator
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread import SpreadCreditLoyaltyOperator, SpreadExportCustomersOperator
from airflow_provider_crm.sensors.spread import SpreadCustomerSensor

try:
    from airflow.sdk.execution_time.timeout import timeout
except ImportError:  # before 3.0
    from airflow.utils.timeout import timeout  # type: ignore[no-redef]

PEOPLE = [{"email": f"a{number}@example.fr"} for number in range(20)]


def make(name: str, folder: str) -> Any:
    """Make a task."""
    if name == "upsert":
        return MindbazUpsertSubscribersOperator(task_id="task", source=PEOPLE, batch_size=5)
    if name == "blind-upsert":
        return ExpertSenderUpsertCustomersOperator(task_id="task", source=PEOPLE, batch_size=5)
    if name == "credit":
        rows = [{**one, "credit_key": one["email"], "amount": 5} for one in PEOPLE]
        return SpreadCreditLoyaltyOperator(task_id="task", source=rows)
    if name == "export":
        return SpreadExportCustomersOperator(task_id="task", path=f"{folder}/people.jsonl", window="all")
    return SpreadCustomerSensor(task_id="task", email="a@example.fr", poke_interval=3600)


def main(name: str, folder: str, seconds: str) -> None:
    """Run a task as Airflow 3 does."""
    task = make(name, folder)
    signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
    execute = inspect.unwrap(type(task).execute)
    if not float(seconds):
        execute(task, {})
        return
    try:
        with timeout(float(seconds)):
            execute(task, {})
    except BaseException:
        task.on_kill()
        raise


if __name__ == "__main__":
    main(*sys.argv[1:])
