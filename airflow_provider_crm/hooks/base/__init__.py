"""What the hooks of all CRMs share: from an Airflow connection to an HTTP client."""

from airflow_provider_crm.hooks.base.hook import CrmHook

__all__ = ["CrmHook"]
