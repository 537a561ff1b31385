"""Export customers whose e-mails are in a file, a column for each consent, and list those who are not known."""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.expertsender import ExpertSenderExportCustomersOperator

with DAG(
    dag_id="expertsender_export_customers",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "expertsender"],
    params={
        "source": "/data/people.csv",
        "path": "/data/customers.csv",
        "absent_path": "/data/absent.jsonl",
    },
    doc_md=__doc__,
) as dag:
    ExpertSenderExportCustomersOperator(
        task_id="export_customers",
        source="{{ params.source }}",
        by="email",
        flatten_consents=True,
        path="{{ params.path }}",
        absent_path="{{ params.absent_path }}",
    )
