"""What somebody approves in the browser: an erasure of people from all three CRMs."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_crm.operators.erasure import CrmErasePeopleOperator

with DAG("erase_people", start_date=datetime(2026, 1, 1), schedule=None, params={"source": "", "folder": ""}):
    CrmErasePeopleOperator(
        task_id="erase",
        source="{{ params.source }}",
        certificate_path="{{ params.folder }}/certificate.jsonl",
        suppression_path="{{ params.folder }}/suppressed.jsonl",
        approval=True,
        retries=1,
        retry_delay=timedelta(0),
    )
