"""Record the answers to consents of a CSV in SPREAD, each of them once.

Only what changes something is sent, and an acceptance that is older than a refusal in the CRM never is.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.spread import SpreadCreateConsentsOperator

with DAG(
    dag_id="spread_consents",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "spread", "consents"],
    params={"source": "/data/consents.csv", "rejects_path": "/data/rejects.jsonl", "max_rejects": "0"},
    doc_md=__doc__,
) as dag:
    SpreadCreateConsentsOperator(
        task_id="create_consents",
        source="{{ params.source }}",
        field_map={
            "email": "email",
            "consent": "consent_tech_name",
            "answer": "status",  # accepted or refused
            "answered_at": "created_at",
            "ip": "ip",
        },
        rejects_path="{{ params.rejects_path }}",
        max_rejects="{{ params.max_rejects }}",
    )
