"""Who the customers of credits are: by id, by e-mail, or some rows by one and some by the other. Knows no ledger.

Credits of one person must be known to be one person's however the rows name them, so that ids are looked up in bulk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from airflow_provider_crm.exceptions import CrmRequestError, CrmUnreadableAnswerError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.loyalty.source_rows import CreditReader, CreditRecord, CustomerRef

S = TypeVar("S")
T = TypeVar("T")


class Customers:
    """Finds out who customers are, and notes it in the records of their credits.

    :param hook: through which calls are made.
    :param reader: hashes e-mails as the ledger keeps them.
    """

    def __init__(self, hook: SpreadHook, reader: CreditReader) -> None:
        self._hook = hook
        self._reader = reader

    def find(self, record: CreditRecord) -> Mapping[str, Any] | None:
        """Find the customer of a record's e-mail, and how else to name them.

        :raises CrmRequestError: several customers have it.
        """
        customer = self._hook.find_customer(email=record.email)
        if customer is not None:
            spelled = str(customer.get("email") or "").strip()
            refs = [CustomerRef(email=spelled), CustomerRef(customer_id=str(customer["id"]))]
            record.other_refs = [ref for ref in refs if ref != record.ref]
        return customer

    def id_of(self, record: CreditRecord) -> str | None:
        """Return the customer's id; None when SPREAD knows no such e-mail.

        :raises CrmRequestError: several customers have it.
        """
        if record.credit.customer_id is not None:
            return record.credit.customer_id
        customer = self.find(record)
        return None if customer is None else str(customer["id"])

    def identify(self, record: CreditRecord) -> None:
        """Find both id and e-mail, so that a credit can be compared with one that names its customer otherwise.

        :raises CrmRequestError: several customers have the e-mail.
        """
        if record.credit.customer_id is None:
            customer_id = self.id_of(record)
            if customer_id is not None:
                record.credit = replace(record.credit, customer_id=customer_id)
            return
        customer = self._hook.get_customer(record.credit.customer_id)
        self._know(record, str(customer.get("email") or "").strip() if customer else "")

    def learn_emails(self, records: Sequence[CreditRecord]) -> dict[str, CrmRequestError]:
        """Find the e-mails of customers named by id: other rows, or other runs, may name the same ones by e-mail.

        :return: by id, the errors of customers who cannot be looked up.
        """
        unknown = {record.credit.customer_id or "": record for record in records if not record.email_known}
        emails, errors = self._emails(unknown) if unknown else ({}, {})
        for record in records:
            customer_id = record.credit.customer_id or ""
            if not record.email_known and customer_id not in errors:
                self._know(record, emails.get(customer_id, ""))
        return errors

    def _know(self, record: CreditRecord, email: str) -> None:
        record.email_known = True
        record.other_refs = [CustomerRef(email=email)] if email else []
        if email:
            record.email = email
            record.credit = replace(record.credit, customer_hash=self._reader.hash(email))

    def _emails(self, ids: Collection[str]) -> tuple[dict[str, str], dict[str, CrmRequestError]]:
        """Return customers' e-mails, as SPREAD spells them, by id; without those who have none. And their errors."""
        errors: dict[str, CrmRequestError] = {}
        try:
            customers = list(self._hook.iter_customers(ids=ids))
        except (CrmUnreadableAnswerError, CrmRequestError):
            # The server ignores the list of ids, or refuses it for one of them.
            customers = []
            for one, found in zip(ids, each_alone(self._hook, self._hook.get_customer, ids), strict=True):
                if isinstance(found, CrmRequestError):
                    errors[one] = found
                elif found is not None:
                    customers.append(found)
        emails = {str(one.get("id")): str(one.get("email") or "").strip() for one in customers}
        return {one: email for one, email in emails.items() if email and one in ids}, errors


def each_alone(hook: SpreadHook, function: Callable[[S], T], items: Iterable[S]) -> list[T | CrmRequestError]:
    """Call a function for many items, side by side; what the CRM refuses for one of them is that one's alone.

    :return: for each item, what the function returned, or the error.
    """

    def one(item: S) -> T | CrmRequestError:
        try:
            return function(item)
        except CrmRequestError as error:
            return error

    return hook.side_by_side(one, items)
