"""What the browser looks at: a newsletter's subscribers, and a shop's customers."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator

with DAG("newsletter", start_date=datetime(2026, 1, 1), schedule=None, params={"source": "", "rejects": ""}):
    MindbazUpsertSubscribersOperator(
        task_id="upsert_subscribers",
        source="{{ params.source }}",
        field_map={"email": 1, "last_name": 14, "first_name": 15},
        rejects_path="{{ params.rejects }}",
        batch_size=100,
        concurrency=1,
    )

with DAG("customers", start_date=datetime(2026, 1, 1), schedule=None, params={"source": ""}):
    SpreadUpsertCustomersOperator(
        task_id="upsert_customers",
        source="{{ params.source }}",
        field_map={"email": "email", "last_name": "lastName", "first_name": "firstName"},
        retries=1,
        retry_delay=timedelta(0),
    )
