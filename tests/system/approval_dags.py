"""What test_approval.py runs: an upsert that somebody has to approve."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator

with DAG(
    dag_id="approved",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    params={"source": "", "approval_timeout": "3600"},
):
    MindbazUpsertSubscribersOperator(
        task_id="upsert",
        source="{{ params.source }}",
        field_map={"email": 1},
        approval=True,
        approval_timeout="{{ params.approval_timeout }}",
        batch_size=2,
        concurrency=1,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )
