"""Calls that a type checker has to refuse, one a line; nothing imports this."""

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

MindbazUpsertSubscribersOperator(task_id="t", sorce=[])
MindbazUpsertSubscribersOperator(task_id="t", source=[], rejects="x")
MindbazUpsertSubscribersOperator(task_id="t", source=[], mode=3)
MindbazUpsertSubscribersOperator(task_id="t", source=[], field_map=["email"])
MindbazUpsertSubscribersOperator(source=[])
SpreadUpsertCustomersOperator(task_id="t", source=[], retrys=3)
SpreadExportConsentsOperator(task_id="t")
SpreadExportConsentsOperator(task_id="t", path="x", consent_idd=1)
SpreadCreditLoyaltyOperator(task_id="t", source=[], allow_debt=True)
ExpertSenderUpsertCustomersOperator(task_id="t", source=[], allow_resubscribe=1.5)
ExpertSenderExportCustomersOperator(task_id="t", path="x")
SpreadConsentSensor(task_id="t", consent="x")
SpreadCustomerSensor(task_id="t", mail="x")
MindbazSubscriberSensor(task_id="t", email=3.5)
ExpertSenderCustomerSensor(task_id="t", value="x", poke_intervall=3)
ExpertSenderHook().get_customer("x", by="mail")
ExpertSenderHook().upsert_customers([], mode="Upsert")
SpreadHook(conn_id="x")
SpreadHook().create_consent(1, status="yes", created_at="2026")
SpreadHook().iter_customers(emial="x")
MindbazHook().get_subscribers(["x"], by="email")
MindbazHook().create_subscribers([{1: "x"}])
SpreadConsentEventTrigger(consent="x")
