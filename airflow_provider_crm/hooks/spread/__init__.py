"""SPREAD: its hook, and what is read before a write or an export."""

from airflow_provider_crm.hooks.spread.extras import SpreadExtras
from airflow_provider_crm.hooks.spread.hook import SpreadHook

__all__ = ["SpreadExtras", "SpreadHook"]
