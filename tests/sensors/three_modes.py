"""One DAG with a sensor in each mode, for the tests beside it."""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.sensors.expertsender import ExpertSenderCustomerSensor
from airflow_provider_crm.sensors.mindbaz import MindbazSubscriberSensor
from airflow_provider_crm.sensors.spread import SpreadConsentSensor, SpreadCustomerSensor

with DAG(
    dag_id="three_modes",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    params={"email": "zoe@example.fr"},
) as dag:
    email = "{{ params.email }}"
    SpreadCustomerSensor(task_id="poke", email=email, poke_interval=0.5)
    ExpertSenderCustomerSensor(task_id="reschedule", value=email, mode="reschedule", poke_interval=0.5)
    MindbazSubscriberSensor(task_id="deferred", email=email, deferrable=True, poke_interval=0.5)
    SpreadConsentSensor(
        task_id="deferred_in_vain",
        consent_id=9876,
        created_after="2026-01-01 00:00:00",
        deferrable=True,
        poke_interval=0.5,
        max_consecutive_failures=3,
    )
