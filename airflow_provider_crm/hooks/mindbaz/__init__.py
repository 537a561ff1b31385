"""Mindbaz: its hook, and what is read before a write or an export."""

from airflow_provider_crm.hooks.mindbaz.hook import MindbazExtras, MindbazHook

__all__ = ["MindbazExtras", "MindbazHook"]
