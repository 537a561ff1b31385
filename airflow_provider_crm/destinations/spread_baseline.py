"""Which loyalty lines SPREAD held before credits were sent: none of them is ever taken for a credit's own.

Read in bulk where that is cheaper than customer by customer; nothing relies on clocks or on the order of line ids.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from airflow_provider_crm.bulk.ledger import Credit, LoyaltyLedger
from airflow_provider_crm.hooks.spread import SpreadHook

log = logging.getLogger(__name__)

#: Seconds after which lines that were added meanwhile are read too.
REFRESH_EVERY = 60.0


class Baselines:
    """Takes baselines and keeps them in the ledger.

    :param most_calls: calls that reading customer by customer would take; reading all lines may cost as many.
    """

    def __init__(self, hook: SpreadHook, ledger: LoyaltyLedger, *, most_calls: int) -> None:
        self._hook = hook
        self._ledger = ledger
        self._most_calls = max(most_calls, 1)
        self._lock = threading.Lock()
        self._bulk: _AllLines | None = None
        self._tried = False

    def name(self, credits_: Sequence[Credit], find_customer: Callable[[str], str | None]) -> str:
        """Give the baseline for credits that are about to be sent for the first time.

        :param find_customer: gives the customer's id for a credit's key, where only the e-mail is known.
        :return: its name in the ledger.
        """
        with self._lock:
            if not self._tried:
                self._bulk = _AllLines.read(self._hook, self._ledger, self._most_calls)
                self._tried = True
            if self._bulk is not None:
                return self._bulk.fresh()
        return self._of_customers(credits_, find_customer)

    def _of_customers(self, credits_: Sequence[Credit], find_customer: Callable[[str], str | None]) -> str:
        def lines(credit: Credit) -> list[str]:
            customer = credit.customer_id or find_customer(credit.key)
            if customer is None:
                return []
            return [
                str(line["cagnotteLineId"]) for line in self._hook.iter_loyalty_lines(customer_id=customer)
            ]

        found = self._hook.side_by_side(lines, credits_)
        return self._ledger.save_baseline(line for some in found for line in some)


class _AllLines:
    """All lines of the account, and those that were added since, as long as new ones come last."""

    def __init__(self, hook: SpreadHook, ledger: LoyaltyLedger, ids: list[str]) -> None:
        self._hook = hook
        self._ledger = ledger
        self._count = len(ids)
        self._last = ids[-1] if ids else None
        self._name = ledger.save_baseline(ids)
        self._read_at = time.monotonic()

    @classmethod
    def read(cls, hook: SpreadHook, ledger: LoyaltyLedger, most_calls: int) -> _AllLines | None:
        """Read all lines; None when there are too many of them."""
        ids: list[str] = []
        for calls, page in enumerate(hook.loyalty_pages(), start=1):
            if calls > most_calls:
                log.info(
                    "There are too many loyalty lines to read them all: reading them customer by customer"
                )
                return None
            ids += (str(line["cagnotteLineId"]) for line in page)
        return cls(hook, ledger, ids)

    def fresh(self) -> str:
        """Give the baseline, with what was added since it was read."""
        if time.monotonic() - self._read_at >= REFRESH_EVERY:
            self._read_at = time.monotonic()
            self._add_new()
        return self._name

    def _add_new(self) -> None:
        start = max(self._count - 1, 0)
        new = [str(line["cagnotteLineId"]) for page in self._hook.loyalty_pages(start=start) for line in page]
        if self._last is not None:
            if not new or new[0] != self._last:
                return  # lines are not added at the end here, or some were removed
            new = new[1:]
        if new:
            self._name = self._ledger.save_baseline(new, parent=self._name)
            self._count += len(new)
            self._last = new[-1]
