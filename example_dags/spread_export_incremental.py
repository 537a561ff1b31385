"""Land the answers to one consent that came since the last run, whenever that was. Needs Airflow 3.3.

The watermark is kept with the outlet asset and moves once the file is in its place, as far as rows were read.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG, Asset
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.datasets import Dataset as Asset

from airflow_provider_crm.operators.spread import SpreadExportConsentsOperator

with DAG(
    dag_id="spread_export_incremental",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    max_active_runs=1,  # two runs at once would start from the same watermark
    tags=["crm", "spread"],
    params={"folder": "/data/consents", "consent_id": "9876"},
    doc_md=__doc__,
) as dag:
    SpreadExportConsentsOperator(
        task_id="export_consents",
        consent_id="{{ params.consent_id }}",
        incremental=True,
        path="{{ params.folder }}/{{ run_id | replace(':', '') }}.jsonl.gz",
        outlets=[Asset("crm://spread/newsletter")],
    )
