"""Airflow tasks for ExpertSender CDP."""

from airflow_provider_crm.operators.expertsender.exports import ExpertSenderExportCustomersOperator
from airflow_provider_crm.operators.expertsender.writes import (
    ExpertSenderDeleteCustomersOperator,
    ExpertSenderUpsertCustomersOperator,
)

__all__ = [
    "ExpertSenderDeleteCustomersOperator",
    "ExpertSenderExportCustomersOperator",
    "ExpertSenderUpsertCustomersOperator",
]
