"""How ExpertSender CDP erases customers: one DELETE a row.

Knows what a call means and what the vendor leaves unsaid; knows neither batches of a source nor retries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_crm.bulk.erasures import plan_erasure, settle_not_found
from airflow_provider_crm.bulk.outcomes import Ending, Item, Outcome, RowKey, Step, Verdict
from airflow_provider_crm.destinations.expertsender.upserts import ABSENT, key_text
from airflow_provider_crm.exceptions import CrmNotFoundError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.schemas.expertsender.write import By


class DeleteCustomers:
    """Deletes customers, one DELETE a row.

    The look before it tells a dry run who is there; the call is made whatever it shows.

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
        found = self._hook.get_customer(item.key, by=self._by) is not None
        return plan_erasure(item, None, found=found, absent=ABSENT)

    def apply(self, steps: Sequence[Step[None]]) -> list[Verdict]:
        return [self._delete(step) for step in steps]

    def _delete(self, step: Step[None]) -> Verdict:
        try:
            self._hook.send_deletion(step.item.key, by=self._by, with_anonymization=self._with_anonymization)
        except CrmNotFoundError as error:
            return settle_not_found(step, error)
        return Outcome(Ending.UPDATED)
