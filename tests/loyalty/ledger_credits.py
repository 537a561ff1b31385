"""Two credits of one customer, and short ways to claim, start and lose them, for the tests beside it."""

from __future__ import annotations

from decimal import Decimal

from airflow_provider_crm.loyalty.credits import Credit
from airflow_provider_crm.loyalty.states import Standing
from airflow_provider_crm.loyalty.tables import credits_table

FREE, DOUBT, CREDITED, BUSY, CONFLICT, INCOMPARABLE = (
    Standing.FREE,
    Standing.DOUBT,
    Standing.CREDITED,
    Standing.BUSY,
    Standing.CONFLICT,
    Standing.INCOMPARABLE,
)

A = Credit("a", Decimal(5), customer_hash="zoe")
B = Credit("b", Decimal(5), customer_hash="zoe")


def claim(ledger, *credits_):
    entries = ledger.claim(credits_)
    return entries[0] if len(credits_) == 1 else entries


def start(ledger, entry, baseline=None):
    return ledger.start(entry, baseline)


def die(ledger):
    """End a process without any word to the ledger, and let its lease run out."""
    ledger._closing.set()
    ledger._renewer.join()
    with ledger._database._engine.begin() as connection:
        connection.execute(
            credits_table.update()
            .where(credits_table.c.owner == ledger._owner)
            .values(lease_until=1.0, sent_at=1.0)
        )
