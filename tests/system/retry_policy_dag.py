"""Tasks with the retry policy, one for each of its decisions, for the test beside it."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_crm.retry_policy import CrmRetryPolicy
from airflow_provider_crm.sensors.expertsender import ExpertSenderCustomerSensor
from airflow_provider_crm.sensors.mindbaz import MindbazSubscriberSensor
from airflow_provider_crm.sensors.spread import SpreadCustomerSensor

with DAG(
    dag_id="retry_policy",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    default_args={
        "retries": 3,
        "retry_policy": CrmRetryPolicy(longest_delay=timedelta(seconds=3)),
        "max_consecutive_failures": 1,
    },
) as dag:
    MindbazSubscriberSensor(task_id="told_when", email="zoe@example.fr")
    ExpertSenderCustomerSensor(task_id="refused", value="zoe@example.fr")
    SpreadCustomerSensor(task_id="busy", email="zoe@example.fr")
