"""Export all customers, custom fields included, as one compressed file of JSON lines."""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.spread import SpreadExportCustomersOperator

with DAG(
    dag_id="spread_export_customers",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "spread"],
    params={"path": "/data/customers.jsonl.gz", "rejects_path": "/data/rejects.jsonl"},
    doc_md=__doc__,
) as dag:
    SpreadExportCustomersOperator(
        task_id="export_customers",
        path="{{ params.path }}",
        window="all",  # not only those of the run's data interval
        show_custom_fields=True,
        rejects_path="{{ params.rejects_path }}",
        concurrency=8,
    )
