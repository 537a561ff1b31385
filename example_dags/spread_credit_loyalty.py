"""Credit loyalty points in SPREAD, each row exactly once, then compare the ledger with SPREAD.

The rows need a `credit_key` of their own (an order number, a campaign and a customer), an `email` or a `customer_id`,
and an `amount`. What was credited is kept in the SQL database of the connection `crm_ledger_default`, so that retries,
cleared runs and backfills credit nothing twice. A failed try is worth another one: it first finds out what the last one
did.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.spread.loyalty import (
    SpreadAuditLoyaltyOperator,
    SpreadCreditLoyaltyOperator,
)

with DAG(
    dag_id="spread_credit_loyalty",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "spread"],
    params={
        "source": "/data/credits.csv",
        "rejects_path": "/data/credits_rejected.jsonl",
        "report_path": "/data/credits_audit.jsonl",
        "created_after": "2026-01-01 00:00:00",
    },
    doc_md=__doc__,
) as dag:
    credit = SpreadCreditLoyaltyOperator(
        task_id="credit_points",
        source="{{ params.source }}",
        rejects_path="{{ params.rejects_path }}",
        retries=5,
        retry_delay=timedelta(minutes=2),
    )
    audit = SpreadAuditLoyaltyOperator(
        task_id="audit",
        created_after="{{ params.created_after }}",
        report_path="{{ params.report_path }}",
    )
    credit >> audit
