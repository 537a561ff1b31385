"""How Mindbaz unsubscribes people: look them up, then one PUT of those who are still to be reached.

Knows what the status codes mean; knows neither batches of a source nor retries.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_crm.bulk.outcomes import Ending, Item, Outcome, RowKey, Step, Verdict, rejected
from airflow_provider_crm.bulk.upserts import Held, decide
from airflow_provider_crm.destinations.mindbaz.opt_outs import Values, has_opted_out
from airflow_provider_crm.destinations.mindbaz.verdicts import send
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.mindbaz.lookups import key_text, look_up_surely
from airflow_provider_crm.schemas.mindbaz.write import (
    MAX_SUBSCRIBERS,
    STATUS,
    UNSUBSCRIBED,
    UNSUBSCRIBED_AT,
    ZONE,
    Subscriber,
    date_text,
    wire_subscriber,
)


class UnsubscribeSubscribers:
    """Sets people to unsubscribed, with the date; whoever has opted out in any way is left as is.

    :param key_column: the column that holds the match key.
    """

    batch_size = MAX_SUBSCRIBERS
    opt_outs: None = None

    def __init__(self, hook: MindbazHook, *, key_column: str, match_by: str) -> None:
        self._hook = hook
        self._key_column = key_column
        self._match_by = match_by

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, Values]:
        try:
            return RowKey(key_text(data.get(self._key_column), self._match_by)), {}
        except ValueError as error:
            raise ValueError(f"{self._key_column}: {error}") from None

    def plan(self, items: Sequence[Item[Values]]) -> list[Outcome | Step[Values]]:
        keys = [item.key for item in items]
        found = look_up_surely(self._hook, keys, match_by=self._match_by, field_ids=(STATUS,))
        return [self._plan_one(item, found.get(item.key, ())) for item in items]

    def _plan_one(self, item: Item[Values], found: Sequence[Subscriber]) -> Outcome | Step[Values]:
        if not found:
            return Outcome(Ending.SKIPPED, "not in Mindbaz")
        if len(found) > 1:
            return rejected("crm", f"{len(found)} subscribers share this {self._match_by}")
        number, status = found[0]["id"], found[0]["fields"].get(STATUS)
        ending, writes = decide("update", item, Held.SAME if has_opted_out(status) else Held.OTHER)
        if not writes:
            return Outcome(ending, crm_id=number)
        if not item.record:  # the date stays the one of the first call
            item.record.update({STATUS: UNSUBSCRIBED, UNSUBSCRIBED_AT: date_text(dt.datetime.now(ZONE))})
        return Step(item, Outcome(ending, crm_id=number), wire_subscriber(number, item.record))

    def apply(self, steps: Sequence[Step[Values]]) -> list[Verdict]:
        return send(self._hook, steps)
