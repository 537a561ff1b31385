"""Upsert a CSV of subscribers into Mindbaz, once a person has approved it where it is more than usual.

A dry run counts what would be written. Up to `approval` rows are sent at once; with more of them the task waits for an
answer under Airflow's *Required Actions*, for a day at most, and holds no worker meanwhile. Refused, or without an
answer, nothing is sent. Needs Airflow 3.1.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator

with DAG(
    dag_id="mindbaz_upsert_approved",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "mindbaz"],
    params={
        "source": "/data/subscribers.csv",
        "rejects_path": "/data/rejects.jsonl",
        "approval": "1000",
    },
    doc_md=__doc__,
) as dag:
    MindbazUpsertSubscribersOperator(
        task_id="upsert_subscribers",
        source="{{ params.source }}",
        field_map={"email": 1, "last_name": 14, "first_name": 15},
        rejects_path="{{ params.rejects_path }}",
        # A float would be a share of the rows: "0.2" asks when more than a fifth of them would be written.
        approval="{{ params.approval }}",
        approval_timeout=24 * 3600,
    )
