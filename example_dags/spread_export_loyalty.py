"""Export the loyalty ledger of a period as CSV: every movement of points, spending included."""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.spread import SpreadExportLoyaltyOperator

with DAG(
    dag_id="spread_export_loyalty",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "spread"],
    params={"path": "/data/loyalty.csv", "after": "2024-01-01", "before": "2030-01-01"},
    doc_md=__doc__,
) as dag:
    SpreadExportLoyaltyOperator(
        task_id="export_loyalty",
        path="{{ params.path }}",
        created_after="{{ params.after }}",
        created_before="{{ params.before }}",
    )
