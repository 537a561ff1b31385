"""Give SPREAD customers another e-mail; a change that is made already is left alone."""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.spread import SpreadUpdateEmailsOperator

with DAG(
    dag_id="spread_emails",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "spread"],
    params={"source": "/data/changed_emails.csv", "rejects_path": "/data/rejects.jsonl", "max_rejects": "0"},
    doc_md=__doc__,
) as dag:
    SpreadUpdateEmailsOperator(
        task_id="update_emails",
        source="{{ params.source }}",
        old_field="email_before",
        new_field="email_now",
        rejects_path="{{ params.rejects_path }}",
        max_rejects="{{ params.max_rejects }}",
    )
