"""Wait until SPREAD has a person with enough points, and an answer to a consent, and Mindbaz has subscribed them.

Only the first look of each sensor takes a worker.

Such a DAG is triggered with the address of a person, and the tasks that need them come after the sensors.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.sensors.mindbaz import MindbazSubscriberSensor
from airflow_provider_crm.sensors.spread import (
    SpreadConsentSensor,
    SpreadCustomerSensor,
    SpreadLoyaltyBalanceSensor,
)

with DAG(
    dag_id="wait_for_people",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "mindbaz", "spread"],
    params={"email": "zoe@example.fr", "consent_id": 1, "since": "2026-01-01 00:00:00", "points": 100},
    default_args={"deferrable": True, "poke_interval": 300, "timeout": timedelta(days=2)},
    doc_md=__doc__,
) as dag:
    SpreadCustomerSensor(task_id="customer", email="{{ params.email }}")
    SpreadConsentSensor(
        task_id="answers",
        consent_id="{{ params.consent_id }}",
        created_after="{{ params.since }}",
        status="accepted",
    )
    SpreadLoyaltyBalanceSensor(task_id="points", email="{{ params.email }}", min_amount="{{ params.points }}")
    MindbazSubscriberSensor(task_id="subscriber", email="{{ params.email }}", status=0)
