"""Erase the customers of a list from SPREAD, once a person has approved it.

The question, under Airflow's *Required Actions*, says how many of the list are there and would be erased, and names
none of them. It waits for three days, without a worker. A list that has changed meanwhile is refused.

Needs Airflow 3.1.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.spread import SpreadDeleteCustomersOperator

with DAG(
    dag_id="spread_delete_approved",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "spread", "erasure"],
    params={"source": "/data/erase.csv", "results_path": "/data/erased.jsonl", "approval": True},
    doc_md=__doc__,
) as dag:
    SpreadDeleteCustomersOperator(
        task_id="delete_customers",
        source="{{ params.source }}",
        email_field="email",
        customer_id_field="spread_id",
        approval="{{ params.approval }}",
        approval_timeout=3 * 24 * 3600,
        # Who was erased when: keep it as long as you have to prove it.
        results_path="{{ params.results_path }}",
    )
