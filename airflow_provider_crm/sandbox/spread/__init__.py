"""The stand-in for SPREAD, after https://help.spreadfamily.fr. Knows nothing of the other stand-ins."""

from airflow_provider_crm.sandbox.spread.switches import SpreadSwitches
from airflow_provider_crm.sandbox.spread.system import Spread

__all__ = ["Spread", "SpreadSwitches"]
