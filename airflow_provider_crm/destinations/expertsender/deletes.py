"""How ExpertSender CDP erases customers: one DELETE a row.

Knows what a call means and what the vendor leaves unsaid; knows neither batches of a source nor retries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_crm.bulk.outcomes import Ending, Item, Outcome, Refused, RowKey, Step, Verdict
from airflow_provider_crm.destinations.expertsender.upserts import ABSENT, key_text
from airflow_provider_crm.exceptions import CrmNotFoundError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.schemas.expertsender.write import By


class DeleteCustomers:
    """Deletes customers, one DELETE a row.

    The look before it tells a dry run who is there. It decides nothing else: an erasure must not depend on a read that
    may lag behind (github.com/HubSpot/hubspot-api-php issue 59).

    :param by: what the column of this name holds: ``email``, ``id``, ``phone`` or ``crmId``.
    :param with_anonymization: anonymise the customer's data as well.
    """

    batch_size = 1
    opt_outs: None = None

    def __init__(self, hook: ExpertSenderHook, *, by: By, with_anonymization: bool) -> None:
        self._hook = hook
        self._by = by
        self._with_anonymization = with_anonymization

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, None]:
        return RowKey(key_text(self._by, data.get(self._by))), None

    def plan(self, items: Sequence[Item[None]]) -> list[Outcome | Step[None]]:
        return [self._plan_one(item) for item in items]

    def _plan_one(self, item: Item[None]) -> Outcome | Step[None]:
        if self._hook.get_customer(item.key, by=self._by) is not None:
            return Step(item, Outcome(Ending.UPDATED))
        if item.maybe_applied:
            return Outcome(Ending.UPDATED)
        absent = Outcome(Ending.SKIPPED, ABSENT)
        return absent if item.refused else Step(item, absent)

    def apply(self, steps: Sequence[Step[None]]) -> list[Verdict]:
        return [self._delete(step) for step in steps]

    def _delete(self, step: Step[None]) -> Verdict:
        try:
            self._hook.send_deletion(step.item.key, by=self._by, with_anonymization=self._with_anonymization)
        except CrmNotFoundError as error:
            if step.outcome.ending is Ending.SKIPPED:
                return step.outcome
            if error.after_unknown:
                return Outcome(Ending.UPDATED)
            # Somebody else was faster, or the vendor has no DELETE any more: the next look tells.
            return Refused("ExpertSender shows the customer and answers DELETE with 404")
        return Outcome(Ending.UPDATED)
