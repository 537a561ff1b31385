"""Sensors that are mapped over people, in a DAG that names an e-mail of Airflow's own among its defaults."""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.sensors.mindbaz import MindbazSubscriberSensor
from airflow_provider_crm.sensors.spread import SpreadCustomerSensor, SpreadLoyaltyBalanceSensor

PEOPLE = ["zoe@example.fr", "bert@example.fr"]

with DAG(
    dag_id="mapped_people",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    default_args={"email": ["operators@example.com"], "poke_interval": 0.1, "timeout": 60},
) as dag:
    SpreadCustomerSensor.partial(task_id="customers").expand(person_email=PEOPLE)
    SpreadLoyaltyBalanceSensor.partial(task_id="balances", min_amount=0).expand(person_email=PEOPLE)
    MindbazSubscriberSensor.partial(task_id="subscribers").expand(person_email=PEOPLE)
