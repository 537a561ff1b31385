"""SPREAD's records, which both versions of its API work on. Knows no call."""

from __future__ import annotations

from airflow_provider_crm.sandbox.spread.consents import Consents
from airflow_provider_crm.sandbox.spread.customers import Customers
from airflow_provider_crm.sandbox.spread.dates import Clock
from airflow_provider_crm.sandbox.spread.loyalty import Loyalty
from airflow_provider_crm.sandbox.spread.switches import SpreadSwitches


class Store:
    """All records.

    :param switches: the undocumented behaviour; changed in place.
    :ivar customers: customers by id.
    :ivar consents: everyone's answers to the consents.
    :ivar loyalty: the lines of the loyalty pots, and the balances.
    :ivar clock: the vendor's clock.
    """

    def __init__(self, switches: SpreadSwitches) -> None:
        self.switches = switches
        self.clock = Clock(switches)
        self.clear()

    def clear(self) -> None:
        """Forget all records."""
        self.customers = Customers()
        self.consents = Consents()
        self.loyalty = Loyalty(self.customers)

    def now(self) -> str:
        """Return the present moment as customers show it."""
        return self.clock.with_offset(self.clock.now())
