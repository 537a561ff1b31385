"""How ExpertSender erases a person for good: by every key that the row gives."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_crm.bulk.erasure import Found, Person
from airflow_provider_crm.exceptions import CrmNotFoundError, CrmRequestError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.expertsender.consents import read_consents
from airflow_provider_crm.schemas.expertsender.write import By
from airflow_provider_crm.values import compared_email


class EraseCustomer:
    """Erases the customers whom a row names: by e-mail, crmId and phone, which may be different ones of one person.

    One with another e-mail is somebody else, and nobody is erased then.

    :param crm_id_field: the key of a person that is the crmId.
    :param phone_field: the key that is the phone.
    :param with_anonymization: anonymise their data as well.
    """

    name = "expertsender"

    def __init__(
        self, hook: ExpertSenderHook, *, crm_id_field: str, phone_field: str, with_anonymization: bool
    ) -> None:
        self._hook = hook
        self._fields: dict[By, str] = {"crmId": crm_id_field, "phone": phone_field}
        self._with_anonymization = with_anonymization
        self.result = "anonymised" if with_anonymization else "erased"

    def _keys(self, person: Person) -> Iterator[tuple[By, str]]:
        yield "email", person.email
        for by, field in self._fields.items():
            if key := person.keys.get(field):
                yield by, key

    def prepare(self) -> None:
        read_consents(self._hook, needed=False)

    def find(self, person: Person) -> Found | None:
        found = []
        for by, key in self._keys(person):
            customer = self._hook.get_customer(key, by=by)
            if customer is None:
                continue
            if compared_email(customer.get("email")) not in ("", person.email):
                raise CrmRequestError(f"the customer of this {by} has another e-mail")
            found.append(by)
        return Found({"found_by": found}, left=True) if found else None

    def erase(self, person: Person, found: Found | None) -> bool:
        """Send a deletion for each key, also where the look found nobody: it may lag behind.

        github.com/HubSpot/hubspot-api-php issue 59: what was just created is not found for seconds.
        """
        was_there = False
        for by, key in self._keys(person):
            try:
                self._hook.send_deletion(key, by=by, with_anonymization=self._with_anonymization)
                was_there = True
            except CrmNotFoundError as error:
                was_there |= error.after_unknown and found is not None
        return was_there
