"""ExpertSender CDP: its hook, and what is read before a write or an export."""

from airflow_provider_crm.hooks.expertsender.hook import ExpertSenderHook

__all__ = ["ExpertSenderHook"]
