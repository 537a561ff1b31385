"""Airflow tasks for SPREAD."""

from airflow_provider_crm.operators.spread.exports import (
    SpreadExportConsentsOperator,
    SpreadExportCustomersOperator,
    SpreadExportLoyaltyOperator,
)
from airflow_provider_crm.operators.spread.loyalty import (
    SpreadAuditLoyaltyOperator,
    SpreadCreditLoyaltyOperator,
)
from airflow_provider_crm.operators.spread.writes import (
    SpreadCreateConsentsOperator,
    SpreadDeleteCustomersOperator,
    SpreadUpdateEmailsOperator,
    SpreadUpsertCustomersOperator,
)

__all__ = [
    "SpreadAuditLoyaltyOperator",
    "SpreadCreateConsentsOperator",
    "SpreadCreditLoyaltyOperator",
    "SpreadDeleteCustomersOperator",
    "SpreadExportConsentsOperator",
    "SpreadExportCustomersOperator",
    "SpreadExportLoyaltyOperator",
    "SpreadUpdateEmailsOperator",
    "SpreadUpsertCustomersOperator",
]
