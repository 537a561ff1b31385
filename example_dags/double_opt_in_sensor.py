"""Wait until somebody has confirmed a consent in ExpertSender CDP, then subscribe them in Mindbaz.

The sensor looks once and leaves the waiting to the triggerer: it holds no worker, for as long as people take to open
their mail. Who never confirms is not subscribed: the task is skipped after two weeks.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.sensors.expertsender import ExpertSenderCustomerSensor

with DAG(
    dag_id="double_opt_in_sensor",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "expertsender", "mindbaz", "consents"],
    params={"email": "zoe@example.fr", "consent_id": 1, "rejects_path": "/data/opt-in-rejects.jsonl"},
    doc_md=__doc__,
) as dag:
    confirmed = ExpertSenderCustomerSensor(
        task_id="wait_for_confirmation",
        value="{{ params.email }}",
        consent_id="{{ params.consent_id }}",
        consent_value="True",
        deferrable=True,
        poke_interval=300,
        timeout=timedelta(days=14),
        soft_fail=True,
    )

    @task
    def person(email: str) -> list[dict[str, object]]:
        """Rows are never rendered, so that what people write is not taken for a template: a task makes this one."""
        return [{"email": email, "status": 0}]

    rows = person("{{ params.email }}")
    subscribe = MindbazUpsertSubscribersOperator(
        task_id="subscribe",
        source=rows,
        field_map={"email": 1, "status": 7},
        rejects_path="{{ params.rejects_path }}",
    )
    confirmed >> rows >> subscribe
