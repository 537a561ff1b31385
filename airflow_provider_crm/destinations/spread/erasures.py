"""How SPREAD erases a person for good: by id or e-mail, which have to be one customer's."""

from __future__ import annotations

from contextlib import suppress

from airflow_provider_crm.bulk.erasure import Found, Person
from airflow_provider_crm.bulk.outcomes import Ending, Item, Step
from airflow_provider_crm.destinations.spread.deletes import DeleteCustomers, DeleteRecord
from airflow_provider_crm.exceptions import CrmNotFoundError, CrmRequestError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.hooks.spread.base_url import check_base_url
from airflow_provider_crm.rows.sources import Row


class EraseCustomer:
    """Erases a customer; see :class:`.deletes.DeleteCustomers` for whom.

    :param id_field: the key of a person that is SPREAD's id.
    """

    name = "spread"
    result = "erased"

    def __init__(self, hook: SpreadHook, *, id_field: str) -> None:
        self._hook = hook
        self._id_field = id_field
        self._deletes = DeleteCustomers(hook, email_field="email", customer_id_field=id_field)

    def prepare(self) -> None:
        check_base_url(self._hook)

    def find(self, person: Person) -> Found | None:
        record = DeleteRecord(person.keys.get(self._id_field), person.email)
        (plan,) = self._deletes.plan([Item(Row(0, {}), person.email, record)])
        if isinstance(plan, Step):
            return Found({"id": plan.payload}, left=True, target=plan.payload)
        if plan.ending is Ending.REJECTED:
            raise CrmRequestError(plan.reason)
        return None

    def erase(self, person: Person, found: Found | None) -> bool:
        if found is None:
            return False  # there is no id to call with
        with suppress(CrmNotFoundError):  # somebody else was faster: the next look tells
            self._hook.delete_customer(found.target)
        return True
