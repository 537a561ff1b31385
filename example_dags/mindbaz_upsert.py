"""Upsert a CSV of subscribers into Mindbaz, with every bad row accounted for.

Trigger it with other parameters, or put your own defaults here. Rejected rows are in the rejects file, each with its
reason: repair it and give it as `source`, it is itself a valid one.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator

with DAG(
    dag_id="mindbaz_upsert",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "mindbaz"],
    params={
        "source": "/data/subscribers.csv",
        "rejects_path": "/data/rejects.jsonl",
        "results_path": "/data/results.jsonl",
        "max_rejects": "0.05",
    },
    doc_md=__doc__,
) as dag:
    MindbazUpsertSubscribersOperator(
        task_id="upsert_subscribers",
        source="{{ params.source }}",
        field_map={
            "email": 1,
            "last_name": 14,
            "first_name": 15,
            "client_id": 43,
            "status": 7,
            "origin": 6,
        },
        rejects_path="{{ params.rejects_path }}",
        results_path="{{ params.results_path }}",
        # A float is a share: up to 5 % of the rows may be rejected before the task fails.
        max_rejects="{{ params.max_rejects }}",
    )
