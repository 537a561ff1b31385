"""The loyalty pots ("cagnottes") of SPREAD: lines of points, and the balance they make. Knows no HTTP.

https://spread.helpkit.so/api/tFhSLgP1aV7CPGteu85q5Q/cagnotte/pcvQUfQi8PecL3t9KZCMku
"""

from __future__ import annotations

import time
from decimal import Decimal

import msgspec

from airflow_provider_crm.sandbox.spread.customers import Customers

FIRST_POT_ID, FIRST_LINE_ID = 987, 146964  # as in the vendor's sample


class LoyaltyLine(msgspec.Struct, rename="camel", gc=False):
    """One movement of points, exactly as the API shows it."""

    cagnotte_id: str
    cagnotte_line_id: str
    customer_id: str
    campaign_id: str | None
    cagnotte_line_date: str
    cagnotte_line_validation_date: str
    amount: str
    code: str = ""


class Loyalty:
    """All lines, oldest first.

    :param customers: whose ``cagnotteAmount`` follows the lines that can be seen.
    :ivar lines: every line, also one that does not show yet.
    :ivar version: counts the changes of what can be seen.
    """

    def __init__(self, customers: Customers) -> None:
        self.lines: list[LoyaltyLine] = []
        self.version = 0
        self._customers = customers
        self._pots: dict[str, str] = {}
        self._balances: dict[str, Decimal] = {}
        self._of_customer: dict[str, list[LoyaltyLine]] = {}
        self._pending: dict[str, tuple[float, LoyaltyLine]] = {}

    def add(
        self,
        customer_id: str,
        amount: Decimal,
        date: str,
        *,
        delay: float = 0.0,
        campaign_id: str | None = None,
    ) -> LoyaltyLine:
        """Add a line.

        :param delay: seconds until it shows.
        """
        pot = self._pots.setdefault(customer_id, str(FIRST_POT_ID + len(self._pots)))
        line_id = str(FIRST_LINE_ID + len(self.lines))
        line = LoyaltyLine(pot, line_id, customer_id, campaign_id, date, date, plain(amount))
        self.lines.append(line)
        self._of_customer.setdefault(customer_id, []).append(line)
        self._balances[customer_id] = self.balance(customer_id) + amount
        self._pending[line_id] = (time.time() + delay, line)
        self.show_due()
        return line

    def balance(self, customer_id: str) -> Decimal:
        """Return the sum of all lines of a customer."""
        return self._balances.get(customer_id, Decimal(0))

    def of_customer(self, customer_id: str) -> list[LoyaltyLine]:
        """Return all lines of a customer."""
        return self._of_customer.get(customer_id, [])

    def shows(self, line: LoyaltyLine) -> bool:
        """Return whether a line can be seen by now."""
        return line.cagnotte_line_id not in self._pending

    def show_due(self) -> None:
        """Show the lines that are due."""
        if not self._pending:
            return
        now = time.time()
        for line_id, (visible_at, line) in list(self._pending.items()):
            if visible_at <= now:
                del self._pending[line_id]
                self.version += 1
                customer = self._customers.get(line.customer_id)
                if customer is not None:
                    seen = Decimal(customer.cagnotte_amount or 0) + Decimal(line.amount)
                    customer.cagnotte_amount = plain(seen)


def plain(amount: Decimal) -> str:
    """Return an amount as a text without exponent and superfluous zeros."""
    return f"{amount.normalize():f}" if amount else "0"
