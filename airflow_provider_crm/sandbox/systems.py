"""The stand-ins there are: the one list that a further CRM is added to."""

from __future__ import annotations

from airflow_provider_crm.sandbox.expertsender import ExpertSender
from airflow_provider_crm.sandbox.mindbaz import Mindbaz
from airflow_provider_crm.sandbox.spread import Spread
from airflow_provider_crm.sandbox.system import System


class Systems:
    """One attribute a stand-in.

    :ivar spread: the stand-in for SPREAD, with its ``customers``, ``consents``, ``loyalty`` and ``switches``.
    :ivar mindbaz: the stand-in for Mindbaz, with its ``subscribers`` and ``switches``.
    :ivar expertsender: the stand-in for ExpertSender CDP, with its ``customers``, ``mailbox`` and ``switches``.
    """

    def __init__(self) -> None:
        self.spread = Spread()
        self.mindbaz = Mindbaz()
        self.expertsender = ExpertSender()

    def systems(self) -> list[System]:
        """Return the stand-ins in the order of their declaration."""
        return [one for one in vars(self).values() if isinstance(one, System)]
