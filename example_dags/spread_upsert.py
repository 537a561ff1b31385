"""Upsert a CSV of customers into SPREAD, with every bad row accounted for.

Trigger it with other parameters, or put your own defaults here. Rejected rows are in the rejects file, each with its
reason: repair it and give it as `source`, it is itself a valid one. A row that brings nothing new is not sent.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator

with DAG(
    dag_id="spread_upsert",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "spread"],
    params={
        "source": "/data/customers.csv",
        "rejects_path": "/data/rejects.jsonl",
        "results_path": "/data/results.jsonl",
        "max_rejects": "0.05",
    },
    doc_md=__doc__,
) as dag:
    SpreadUpsertCustomersOperator(
        task_id="upsert_customers",
        source="{{ params.source }}",
        field_map={
            "email": "email",
            "last_name": "lastName",
            "first_name": "firstName",
            "country": "country",
            "client_id": "externalId",
            "segments": "tags",  # a list, or a text such as vip|newsletter
            "favourite_sport": "custom_fields.34567",
        },
        rejects_path="{{ params.rejects_path }}",
        results_path="{{ params.results_path }}",
        # A float is a share: up to 5 % of the rows may be rejected before the task fails.
        max_rejects="{{ params.max_rejects }}",
    )
