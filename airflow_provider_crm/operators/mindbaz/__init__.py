"""Airflow tasks for Mindbaz."""

from airflow_provider_crm.operators.mindbaz.exports import MindbazExportSubscribersOperator
from airflow_provider_crm.operators.mindbaz.writes import (
    MindbazUnsubscribeOperator,
    MindbazUpsertSubscribersOperator,
)

__all__ = [
    "MindbazExportSubscribersOperator",
    "MindbazUnsubscribeOperator",
    "MindbazUpsertSubscribersOperator",
]
