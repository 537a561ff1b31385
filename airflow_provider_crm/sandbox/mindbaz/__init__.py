"""The stand-in for Mindbaz, after https://learn.mindbaz.com. Knows nothing of the other stand-ins."""

from airflow_provider_crm.sandbox.mindbaz.switches import MindbazSwitches
from airflow_provider_crm.sandbox.mindbaz.system import Mindbaz

__all__ = ["Mindbaz", "MindbazSwitches"]
