"""Export the state of subscribers whose e-mails are in a file, and list those whom Mindbaz does not know."""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.mindbaz import MindbazExportSubscribersOperator

with DAG(
    dag_id="mindbaz_export_subscribers",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "mindbaz"],
    params={
        "source": "/data/people.csv",
        "path": "/data/subscribers.parquet",
        "absent_path": "/data/absent.jsonl",
    },
    doc_md=__doc__,
) as dag:
    MindbazExportSubscribersOperator(
        task_id="export_subscribers",
        source="{{ params.source }}",
        by="email",
        fields=[1, 7, 43],  # e-mail, status, your own id
        path="{{ params.path }}",
        absent_path="{{ params.absent_path }}",
    )
