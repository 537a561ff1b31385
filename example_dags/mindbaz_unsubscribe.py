"""Unsubscribe the people of a CSV from Mindbaz, with the date.

Whoever has unsubscribed before keeps the first date; addresses that Mindbaz does not know are skipped.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.mindbaz import MindbazUnsubscribeOperator

with DAG(
    dag_id="mindbaz_unsubscribe",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "mindbaz"],
    params={
        "source": "/data/unsubscribed.csv",
        "rejects_path": "/data/unsubscribed-rejects.jsonl",
        "results_path": "/data/unsubscribed-results.jsonl",
    },
    doc_md=__doc__,
) as dag:
    MindbazUnsubscribeOperator(
        task_id="unsubscribe",
        source="{{ params.source }}",
        key_field="email",
        rejects_path="{{ params.rejects_path }}",
        results_path="{{ params.results_path }}",
    )
