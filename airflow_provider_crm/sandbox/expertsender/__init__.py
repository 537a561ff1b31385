"""The stand-in for ExpertSender CDP, after https://help.expertsender.com. Knows nothing of the other stand-ins."""

from airflow_provider_crm.sandbox.expertsender.switches import ExpertSenderSwitches
from airflow_provider_crm.sandbox.expertsender.system import ExpertSender

__all__ = ["ExpertSender", "ExpertSenderSwitches"]
