"""Keep Mindbaz as the source is: send what has changed, and unsubscribe who is no longer there.

The first run sends all and makes the snapshot; from then on rows that are as they were cost no call. On Sundays all
rows are looked up, which finds what others have changed in Mindbaz. When more than a tenth of the people would leave,
the task fails before anything is sent: look at the source first.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.mindbaz import (
    MindbazUnsubscribeOperator,
    MindbazUpsertSubscribersOperator,
)

with DAG(
    dag_id="mindbaz_mirror",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    # The snapshot is one run's at a time.
    max_active_runs=1,
    tags=["crm", "mindbaz"],
    params={
        "source": "/data/subscribers.csv",
        "snapshot": "/data/state/mindbaz.snapshot",
        "leavers_path": "/data/leavers.jsonl",
        "max_leavers": "0.1",
        # A number of people above which somebody has to approve that they are unsubscribed, from Airflow 3.1 on.
        "approval": "False",
        "rejects_path": "/data/rejects.jsonl",
    },
    doc_md=__doc__,
) as dag:
    upsert = MindbazUpsertSubscribersOperator(
        task_id="upsert_subscribers",
        source="{{ params.source }}",
        field_map={"email": 1, "last_name": 14, "first_name": 15},
        snapshot="{{ params.snapshot }}",
        full_resync="{{ (dag_run.logical_date or macros.datetime.utcnow()).weekday() == 6 }}",
        leavers_path="{{ params.leavers_path }}",
        max_leavers="{{ params.max_leavers }}",
        rejects_path="{{ params.rejects_path }}",
    )
    unsubscribe = MindbazUnsubscribeOperator(
        task_id="unsubscribe_leavers",
        source="{{ params.leavers_path }}",
        key_field="email",
        approval="{{ params.approval }}",
    )
    upsert >> unsubscribe
