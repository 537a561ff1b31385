"""What SPREAD makes of amounts with decimals, which no page of it tells: only its answers to credits show it.

Other lines do not: what is given by hand, or imported, may be kept otherwise than what comes by API.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from airflow_provider_crm.loyalty.ledger import LoyaltyLedger
from airflow_provider_crm.loyalty.lines import CustomerLines, line_amount, line_id

#: Credits of earlier runs that are compared with their lines.
MOST_COMPARED = 5


class Decimals:
    """Keeps what was seen, by one run and by those before it.

    :param ledger: knows which credits with decimals SPREAD has answered.
    :param lines: reads what it has noted for them.
    """

    def __init__(self, ledger: LoyaltyLedger, lines: CustomerLines) -> None:
        self._ledger = ledger
        self._lines = lines
        self._lock = threading.Lock()
        self._compared = False
        #: Whether a credit with decimals was noted as whole points, and whether one was noted as it was sent.
        self.rounds = False
        self.keeps = False

    def learn(self, sent: Decimal, noted: Decimal) -> None:
        """Note the amount of an answer, or of the line that an answer has named."""
        if not is_whole(sent):
            self.rounds = self.rounds or is_whole(noted)
            self.keeps = self.keeps or noted == sent

    def refuses(self, amount: Decimal) -> bool:
        """Return whether SPREAD is known not to keep an amount as it is."""
        return self.rounds and not is_whole(amount)

    def compare_earlier(self) -> None:
        """Learn from credits of earlier runs, once, where this run has not seen anything yet."""
        with self._lock:
            if self._compared or self.rounds or self.keeps:
                return
            self._compared = True
            earlier = self._ledger.answered_with_decimals(MOST_COMPARED)
            found, _ = self._lines.of([customer_id for customer_id, _ in earlier.values()])
            for lines in found.values():
                for line in lines:
                    _, sent = earlier.get(line_id(line), ("", None))
                    noted = line_amount(line)
                    if sent is not None and noted is not None:
                        self.learn(sent, noted)


def is_whole(amount: Decimal) -> bool:
    return amount == amount.to_integral_value()


def roundings(amount: Decimal) -> Collection[Decimal]:
    """Return the whole points that an amount may be noted as; none where it is whole itself."""
    if is_whole(amount):
        return ()
    return amount.to_integral_value(ROUND_FLOOR), amount.to_integral_value(ROUND_CEILING)
