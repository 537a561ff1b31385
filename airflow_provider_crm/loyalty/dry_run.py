"""What a dry run of credits says: the ledger is read, nothing is claimed, and nothing is called that writes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from airflow_provider_crm.bulk.outcomes import Ending, Outcome, rejected
from airflow_provider_crm.loyalty.destination import CreditDestination, conflict
from airflow_provider_crm.loyalty.sending import CreditItem, CreditStep
from airflow_provider_crm.loyalty.source_rows import CreditRecord
from airflow_provider_crm.loyalty.spellings import folded, other_spelling
from airflow_provider_crm.loyalty.states import Entry, Standing

#: Earlier keys that are remembered.
REMEMBERED = 50_000


class ExpectedCredits(CreditDestination):
    """Plans each row as it would end; see :class:`~airflow_provider_crm.loyalty.destination.CreditDestination`."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._earlier: OrderedDict[str, CreditRecord] = OrderedDict()
        self._lock = threading.Lock()

    def plan(self, items: Sequence[CreditItem]) -> list[Outcome | CreditStep]:
        self._spellings.take_former([item.record for item in items])
        entries = self._ledger.peek([item.record.credit for item in items])
        doubtful = self._spellings.doubtful(
            item.record.credit.key
            for item, entry in zip(items, entries, strict=True)
            if entry is None or entry.standing is Standing.FREE
        )
        return [
            rejected("crm", doubtful[item.record.credit.key])
            if item.record.credit.key in doubtful
            else self._expect(item, entry)
            for item, entry in zip(items, entries, strict=True)
        ]

    def _expect(self, item: CreditItem, entry: Entry | None) -> Outcome:
        record = item.record
        earlier = self._first_of_its_key(record)
        if entry is not None and entry.standing is Standing.INCOMPARABLE:
            self._customers.identify(record)
            entry = self._ledger.peek([record.credit])[0]
        if entry is not None and entry.standing is Standing.CREDITED:
            return Outcome(Ending.UNCHANGED, "credited before", entry.line_id)
        if entry is not None and entry.standing in (Standing.CONFLICT, Standing.INCOMPARABLE):
            return conflict(entry)
        if earlier.credit.key != record.credit.key:
            return rejected("crm", other_spelling(earlier.credit.key))
        if earlier is record:
            return Outcome(Ending.CREATED, amount=record.credit.amount)
        if earlier.credit.amount == record.credit.amount and earlier.ref == record.ref:
            return Outcome(Ending.UNCHANGED, "credited by an earlier row")
        return rejected(
            "validate", f"this key was credited with {earlier.credit.amount:f} points by an earlier row"
        )

    def _first_of_its_key(self, record: CreditRecord) -> CreditRecord:
        with self._lock:
            first = self._earlier.setdefault(folded(record.credit.key), record)
            if len(self._earlier) > REMEMBERED:
                self._earlier.popitem(last=False)
        return first
