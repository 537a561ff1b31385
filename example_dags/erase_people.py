"""Erase the people who asked for it from all three CRMs, with a certificate.

Whoever handles requests puts the addresses into a file and starts a run with it, and with the number of people in
`expected`: with another number of rows nobody is erased. Somebody else then approves what a dry run has found, in
Airflow's *Required Actions* (from Airflow 3.1 on; set `approval` to False before). Each run has a certificate of its
own. Before the first person is erased all are added to the suppression list, which the other tasks take as their
`suppression_source`. Mindbaz documents no deletion: people there are unsubscribed, and the certificate has their ids
for somebody's hand.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.erasure import CrmErasePeopleOperator

with DAG(
    dag_id="erase_people",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    max_active_runs=1,  # the suppression list grows in one run at a time
    tags=["crm", "privacy"],
    params={"source": "/data/requests.csv", "expected": "0", "folder": "/data/privacy", "approval": True},
    doc_md=__doc__,
) as dag:
    CrmErasePeopleOperator(
        task_id="erase",
        source="{{ params.source }}",
        require_confirmation_count="{{ params.expected }}",
        certificate_path="{{ params.folder }}/{{ run_id | replace(':', '-') | replace('+', '-') }}.jsonl",
        suppression_path="{{ params.folder }}/suppressed.jsonl",
        with_anonymization=True,
        approval="{{ params.approval }}",
        # A system that is away for an hour is waited for: the others are done meanwhile.
        retries=3,
        retry_delay=timedelta(minutes=30),
    )
