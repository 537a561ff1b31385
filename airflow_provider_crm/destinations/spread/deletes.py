"""How SPREAD erases a customer: looked up first, so that nobody else is erased and an absent one is no failure.

Knows what the call means and what it leaves unsaid; knows neither batches of a source nor retries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_crm.bulk.erasures import plan_erasure, settle_not_found
from airflow_provider_crm.bulk.outcomes import UNSAID, Item, Outcome, RowKey, Step, Verdict, rejected
from airflow_provider_crm.exceptions import CrmNotFoundError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.hooks.spread.wire import SEARCH_PAGE
from airflow_provider_crm.schemas.spread.cells import checked, id_of
from airflow_provider_crm.schemas.spread.read import Record
from airflow_provider_crm.values import compared_email, is_empty, normal_email


@dataclass(slots=True)
class DeleteRecord:
    """A row in SPREAD's terms: the id, the e-mail, or both, which then have to agree.

    :param found: the id of the customer, once looked up.
    """

    customer_id: str | None
    email: str | None
    found: str | None = None


class DeleteCustomers:
    """Erases customers, each of whom is looked up before and after: that somebody is gone is not left to an answer.

    :param email_field: the column with the e-mail.
    :param customer_id_field: the column with SPREAD's id, which comes first where a row has both.
    """

    batch_size = 1
    opt_outs: None = None

    def __init__(self, hook: SpreadHook, *, email_field: str, customer_id_field: str) -> None:
        self._hook = hook
        self._email_field = email_field
        self._customer_id_field = customer_id_field

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, DeleteRecord]:
        number, email = data.get(self._customer_id_field), data.get(self._email_field)
        if is_empty(number) and is_empty(email):
            raise ValueError(f"{self._customer_id_field} and {self._email_field} are both empty")
        record = DeleteRecord(
            None if is_empty(number) else checked(self._customer_id_field, id_of, number),
            None if is_empty(email) else checked(self._email_field, normal_email, email),
        )
        return RowKey(record.customer_id or record.email or ""), record

    def plan(self, items: Sequence[Item[DeleteRecord]]) -> list[Outcome | Step[DeleteRecord]]:
        return [self._plan_one(item) for item in items]

    def _plan_one(self, item: Item[DeleteRecord]) -> Outcome | Step[DeleteRecord]:
        record = item.record
        if record.customer_id is None:
            customer = self._hook.find_customer(email=record.email)
        else:
            customer = self._by_id(record.customer_id)
            if problem := self._disagreement(record, customer):
                return problem
        if customer is not None:
            record.found = customer["id"]
        return plan_erasure(
            item,
            record.found,
            found=customer is not None,
            absent="not in SPREAD",
            payload=record.found,
            needs_look=True,
        )

    def _by_id(self, customer_id: str) -> Record | None:
        """Find a customer in the list: what a call by an unknown id answers is not documented."""
        try:
            found = self._hook.iter_customers(ids=customer_id, page_size=SEARCH_PAGE)
            return next((row for row in found if row.get("id") == customer_id), None)
        except CrmNotFoundError:
            return None

    def _disagreement(self, record: DeleteRecord, customer: Record | None) -> Outcome | None:
        """Reject a row whose id and e-mail are not one customer's: nobody is to be erased by mistake, or forgotten."""
        if record.email is None:
            return None
        if customer is not None:
            if compared_email(customer.get("email")) == record.email:
                return None
            return rejected("crm", "the customer of this id has another e-mail", customer["id"])
        owner = self._hook.find_customer(email=record.email)
        if owner is None:
            return None
        return rejected("crm", "no customer has this id, and another one has the e-mail", owner["id"])

    def apply(self, steps: Sequence[Step[DeleteRecord]]) -> list[Verdict]:
        return [self._delete(step) for step in steps]

    def _delete(self, step: Step[DeleteRecord]) -> Verdict:
        try:
            self._hook.send_deletion(step.payload)
        except CrmNotFoundError as error:
            return settle_not_found(step, error)
        return UNSAID  # that they are gone is looked up
