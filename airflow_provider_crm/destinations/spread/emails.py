"""How SPREAD changes the e-mail of a customer: both addresses looked up first, and again after no answer.

Knows what the call means and what it leaves unsaid; knows neither batches of a source nor retries.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from airflow_provider_crm.bulk.outcomes import (
    SETTLE_SECONDS,
    Ending,
    Item,
    Outcome,
    RowKey,
    Step,
    Verdict,
    rejected,
)
from airflow_provider_crm.bulk.suppression import Identifier, by_email
from airflow_provider_crm.destinations.spread.upserts import NewEmail, send_each
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.schemas.spread.cells import checked
from airflow_provider_crm.values import normal_email


@dataclass(frozen=True, slots=True)
class EmailRecord:
    """A row in SPREAD's terms."""

    old: str
    new: str


class UpdateEmails:
    """Gives customers another e-mail.

    :param old_field: the column with the current e-mail.
    :param new_field: the column with the future one.
    """

    batch_size = 1
    opt_outs: None = None

    def __init__(self, hook: SpreadHook, *, old_field: str, new_field: str) -> None:
        self._hook = hook
        self._old_field = old_field
        self._new_field = new_field
        #: Until when a look may not show yet who has got or left an address by an earlier row; the oldest first.
        self._fresh: dict[str, float] = {}
        self._lock = threading.Lock()
        self.identifiers: Sequence[Identifier[EmailRecord]] = (
            by_email(lambda item: (item.record.old, item.record.new), old_field, new_field),
        )

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, EmailRecord]:
        old, new = (
            checked(field, normal_email, data.get(field)) for field in (self._old_field, self._new_field)
        )
        # A chain, a to b and b to c, has to be walked in order.
        return RowKey(old, locks=(old, new)), EmailRecord(old, new)

    def refusal(self, record: EmailRecord) -> None:
        return None

    def plan(self, items: Sequence[Item[EmailRecord]]) -> list[Outcome | Step[EmailRecord]]:
        return [self._plan_one(item) for item in items]

    def _plan_one(self, item: Item[EmailRecord]) -> Outcome | Step[EmailRecord]:
        old, new = item.record.old, item.record.new
        if old == new:
            return Outcome(Ending.UNCHANGED)
        looked_at = self._hook.clock.now()
        # Before the look: while it lasts, what was fresh as it began may be dropped.
        old_fresh, new_fresh = self._fresh.get(old, 0.0), self._fresh.get(new, 0.0)
        customer = self._hook.find_customer(email=old)
        owner = self._hook.find_customer(email=new)
        if customer is None and _is_fresh(item, old_fresh, looked_at):
            return rejected("crm", "no customer has the old e-mail yet")  # looked up again, since it is fresh
        if owner is None:
            if customer is None:
                return rejected("crm", "no customer has the old e-mail or the new one")
            # The old one as the CRM writes it: whether it finds it in another case is not documented.
            rename = NewEmail(customer["email"], new)
            return Step(item, Outcome(Ending.UPDATED, crm_id=customer["id"]), rename, SETTLE_SECONDS)
        if customer is None:
            ending = Ending.UPDATED if item.maybe_applied else Ending.UNCHANGED
            return Outcome(ending, crm_id=owner["id"])
        if customer["id"] == owner["id"]:
            return Outcome(Ending.UNCHANGED, crm_id=owner["id"])
        _is_fresh(item, new_fresh, looked_at)
        return rejected("crm", "another customer has the new e-mail", customer["id"])

    def apply(self, steps: Sequence[Step[EmailRecord]]) -> list[Verdict]:
        verdicts = send_each(self._hook, steps)
        self._remember(steps)
        return verdicts

    def _remember(self, steps: Sequence[Step[EmailRecord]]) -> None:
        now = self._hook.clock.now()
        with self._lock:
            for email in (email for step in steps for email in (step.item.record.old, step.item.record.new)):
                self._fresh.pop(email, None)
                self._fresh[email] = now + SETTLE_SECONDS
            past = list(takewhile(lambda email: self._fresh[email] <= now, self._fresh))
            for email in past:
                del self._fresh[email]


def _is_fresh(item: Item[EmailRecord], until: float, looked_at: float) -> bool:
    """Return whether a look need not show what an earlier row did to an address; the row waits so long."""
    item.in_doubt_until = max(item.in_doubt_until, until)
    return until > looked_at
