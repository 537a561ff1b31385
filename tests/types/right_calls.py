"""Calls that a type checker has to accept; nothing imports this."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.operators.expertsender import (
    ExpertSenderExportCustomersOperator,
    ExpertSenderUpsertCustomersOperator,
)
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread import (
    SpreadCreditLoyaltyOperator,
    SpreadExportConsentsOperator,
    SpreadUpsertCustomersOperator,
)
from airflow_provider_crm.sensors.expertsender import ExpertSenderCustomerSensor
from airflow_provider_crm.sensors.mindbaz import MindbazSubscriberSensor
from airflow_provider_crm.sensors.spread import SpreadConsentSensor, SpreadCustomerSensor
from airflow_provider_crm.triggers.spread import SpreadConsentEventTrigger

MindbazUpsertSubscribersOperator(task_id="t", source=[], mode="create", field_map={"email": 1}, retries=3)
MindbazUpsertSubscribersOperator(
    task_id="t", source="{{ ds }}.csv", mode="{{ params.mode }}", rejects_path=Path("x")
)
SpreadUpsertCustomersOperator(task_id="t", source=Path("x.csv"), max_rejects=0.01, pool="spread_api")
SpreadExportConsentsOperator(task_id="t", path="x.csv", consent_id=[1, 2], created_after=dt.date(2026, 1, 1))
SpreadCreditLoyaltyOperator(task_id="t", source=[], allow_debit="{{ params.debit }}")
ExpertSenderUpsertCustomersOperator(task_id="t", source=[], match_by="email", allow_resubscribe=True)
ExpertSenderExportCustomersOperator(task_id="t", source=["a"], path="x.jsonl")
SpreadConsentSensor(task_id="t", consent_id=1, created_after="{{ ts }}", mode="reschedule", deferrable=True)
SpreadCustomerSensor(task_id="t", email="x", poke_interval=3)
MindbazSubscriberSensor(task_id="t", client_id="x")
ExpertSenderCustomerSensor(task_id="t", value="x", by="phone", timeout=dt.timedelta(hours=1))
ExpertSenderHook("other", concurrency=3).get_customer("x", by="crmId")
ExpertSenderHook().upsert_customers([{"email": "x"}], mode="Add", match_by="CrmId")
SpreadHook(spread_conn_id="x").iter_customers(email="x", modified_after=dt.datetime(2026, 1, 1), country="FR")
SpreadHook().create_consent(1, status="accepted", created_at="2026-01-01 00:00:00")
SpreadHook().iter_loyalty_lines(min_amount=Decimal(1), customer_id=3)
SpreadHook().iter_consents(consent_id=3, status="accepted")
MindbazHook().get_subscribers(["x"], by="IdClient")
MindbazHook().create_subscribers([{"fields": {1: "x"}}])
SpreadConsentEventTrigger(consent_id=1, status="accepted", poll_interval=30)
