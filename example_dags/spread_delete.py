"""Erase the customers of a list from SPREAD, if it is as long as somebody announced.

Trigger it with `require_confirmation_count`, the number of rows: nothing is deleted when the list has another length.
A row has an e-mail, SPREAD's id, or both; both have to be one customer's. Somebody absent is skipped, so that a second
run succeeds.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.spread import SpreadDeleteCustomersOperator

with DAG(
    dag_id="spread_delete",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "spread", "erasure"],
    params={
        "source": "/data/erase.csv",
        "results_path": "/data/erased.jsonl",
        # Set it to the number of people each time.
        "require_confirmation_count": 0,
    },
    doc_md=__doc__,
) as dag:
    SpreadDeleteCustomersOperator(
        task_id="delete_customers",
        source="{{ params.source }}",
        email_field="email",
        customer_id_field="spread_id",
        require_confirmation_count="{{ params.require_confirmation_count }}",
        # Who was erased when: keep it as long as you have to prove it.
        results_path="{{ params.results_path }}",
    )
