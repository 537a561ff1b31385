"""Erase the people of a list from ExpertSender CDP, as they asked for.

`expected` is the number of people that whoever made the list announces: with another number of rows in the list,
nobody is deleted. A second run finds nobody left, and succeeds.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.expertsender import ExpertSenderDeleteCustomersOperator

with DAG(
    dag_id="expertsender_delete",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "expertsender"],
    params={
        "source": "/data/erasures.csv",
        "results_path": "/data/erasures-results.jsonl",
        "expected": "0",
    },
    doc_md=__doc__,
) as dag:
    ExpertSenderDeleteCustomersOperator(
        task_id="delete_customers",
        source="{{ params.source }}",
        by="email",
        with_anonymization=True,
        require_confirmation_count="{{ params.expected }}",
        results_path="{{ params.results_path }}",
    )
