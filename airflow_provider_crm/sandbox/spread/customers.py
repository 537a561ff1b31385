"""The customers of SPREAD and the ways to find them. Knows no HTTP.

https://help.spreadfamily.fr/api/tFhSLgP1aV7CPGteu85q5Q/customers/ugmsStmtKsjSg3gQ4YRWBh
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from airflow_provider_crm.sandbox.spread.switches import SpreadSwitches

FIRST_ID = 123456  # the id of the vendor's sample

CUSTOM_FIELDS = {
    "34567": "Sport",
    "56789": "Logement",
    "1234": "Carte de fidélité",
    "1235": "Nombre d'enfants",
    "1236": "Magasin préféré",
    "1237": "Date d'adhésion",
    "1238": "Commentaire",
    "1239": "Centres d'intérêt",
}

TEXTS = {
    "lastName": "last_name",
    "firstName": "first_name",
    "country": "country",
    "city": "city",
    "address": "address",
    "address2": "address2",
    "address3": "address3",
    "zip": "zip",
    "phone": "phone",
    "mobile": "mobile",
    "lang": "lang",
    "birthday": "birthday",
    "gender": "gender",
    "externalId": "external_id",
    "company": "company",
    "fonction": "fonction",
}
FLAGS = {
    "isFan": "is_fan",
    "isFollow": "is_follow",
    "isFanLinkedin": "is_fan_linkedin",
    "isBuyer": "is_buyer",
}
# The two texts that are "" and not null when there is nothing in them.
EMPTY = {"company": "", "fonction": ""}

_BIRTHDAY = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])").fullmatch
valid_email = re.compile(r"[^@\s,;<>()\"]{1,64}@(?:[^@\s.,;<>()\"]{1,63}\.)+[^@\s.,;<>()\"]{2,63}").fullmatch


class Customer(msgspec.Struct, rename="camel", gc=False, kw_only=True):
    """A customer exactly as a list shows it: every scalar a text or null."""

    id: str
    last_name: str | None = None
    first_name: str | None = None
    email: str
    country: str | None = None
    city: str | None = None
    address: str | None = None
    address2: str | None = None
    address3: str | None = None
    zip: str | None = None
    phone: str | None = None
    mobile: str | None = None
    lang: str | None = "fr"
    birthday: str | None = None
    gender: str | None = None
    created_at: str
    updated_at: str
    is_fan: str = "0"
    is_follow: str = "0"
    is_fan_linkedin: str = "0"
    is_buyer: str = "0"
    action_count: str = "0"
    last_action_dt: str | None = None
    last_order_dt: str | None = None
    cagnotte_amount: str | None = None
    external_id: str | None = None
    company: str = ""
    fonction: str = ""
    tags: list[str] | str = ""


class InvalidCustomerError(Exception):
    """What was sent is not a customer, with the reason."""


class Changes(msgspec.Struct):
    """What a body says about a customer.

    :param values: by attribute of :class:`Customer`.
    :param tags: tags to add.
    :param custom_fields: by id of the custom field, without its name.
    """

    values: dict[str, str | None] = {}
    tags: list[str] = []
    custom_fields: dict[str, str | None] = {}


def read_changes(body: Mapping[str, Any], switches: SpreadSwitches) -> Changes:
    """Read the documented keys of a body; others are passed over.

    :raises InvalidCustomerError: a value is not what the page asks for.
    """
    changes = Changes({}, [], {})
    for name, attribute in TEXTS.items():
        if name in body and (body[name] is not None or switches.null_value == "clear"):
            text = _text(name, body[name])
            if text and switches.invalid_value == "400":
                _check(name, text)
            changes.values[attribute] = text or EMPTY.get(attribute)
    for name, attribute in FLAGS.items():
        if body.get(name) is not None:
            changes.values[attribute] = "1" if str(body[name]).lower() in ("1", "true") else "0"
    tags = body.get("tags") or []
    if not isinstance(tags, list):
        raise InvalidCustomerError("tags must be an array")
    changes.tags = [str(tag) for tag in tags]
    custom_fields = body.get("custom_fields") or {}
    if not isinstance(custom_fields, dict):
        raise InvalidCustomerError("custom_fields must be an array of id => value")
    for field_id, value in custom_fields.items():
        if field_id in CUSTOM_FIELDS:
            changes.custom_fields[field_id] = _text(field_id, value)
        elif switches.unknown_custom_field == "400":
            raise InvalidCustomerError(f"custom field {field_id} does not exist")
    return changes


def _text(name: str, value: Any) -> str | None:
    if isinstance(value, dict | list):
        raise InvalidCustomerError(f"{name} must be a text")
    return None if value is None else str(int(value) if isinstance(value, bool) else value)


def _check(name: str, text: str) -> None:
    if name == "gender" and text not in ("male", "female"):
        raise InvalidCustomerError("gender must be male or female")
    if name == "birthday" and not _BIRTHDAY(text):
        raise InvalidCustomerError("birthday must be YYYY-mm-dd")


class Customers(dict[str, Customer]):
    """Customers by id.

    :ivar custom_fields: by customer id, then by id of the custom field.
    :ivar version: counts the changes, so that a list made from them knows when it is stale.
    """

    def __init__(self) -> None:
        super().__init__()
        self.custom_fields: dict[str, dict[str, str]] = {}
        self.version = 0
        self._next_id = FIRST_ID
        self._by_email: dict[str, tuple[str, ...]] = {}
        self._by_external_id: dict[str, tuple[str, ...]] = {}

    def by_email(self, email: str) -> Customer | None:
        """Return the first customer with this e-mail, compared without case."""
        return next(iter(self.sharing(email)), None)

    def sharing(self, email: str) -> Iterable[Customer]:
        """Return all customers with this e-mail; no call makes several, an import may have."""
        return [self[one] for one in self._by_email.get(email.lower(), ())]

    def by_external_id(self, external_id: str) -> Iterable[Customer]:
        """Return all customers with this external id."""
        return [self[one] for one in self._by_external_id.get(external_id, ())]

    def add(self, email: str, changes: Changes, now: str) -> Customer:
        """Create a customer."""
        customer = Customer(id=str(self._next_id), email=email, created_at=now, updated_at=now)
        self._next_id += 1
        self[customer.id] = customer
        self._index_email(customer)
        self.change(customer, changes, now)
        return customer

    def change(self, customer: Customer, changes: Changes, now: str) -> None:
        """Set values, add tags, set custom fields; a custom field set to None is cleared."""
        old_external_id = customer.external_id
        for attribute, value in changes.values.items():
            setattr(customer, attribute, value)
        if customer.external_id != old_external_id:
            self._move_external_id(customer, old_external_id)
        if changes.tags:
            old = customer.tags if isinstance(customer.tags, list) else []
            customer.tags = list(dict.fromkeys([*old, *changes.tags]))
        for field_id, value in changes.custom_fields.items():
            if value is None:
                self.custom_fields.get(customer.id, {}).pop(field_id, None)
            else:
                self.custom_fields.setdefault(customer.id, {})[field_id] = value
        self.touch(customer, now)

    def remove_tags(self, customer: Customer, tags: Iterable[str]) -> None:
        """Remove tags."""
        gone = set(tags)
        customer.tags = [tag for tag in customer.tags if tag not in gone] or ""
        self.version += 1

    def rename(self, customer: Customer, email: str, now: str) -> None:
        """Change a customer's e-mail to one that nobody else has."""
        self._forget_email(customer)
        customer.email = email
        self._index_email(customer)
        self.touch(customer, now)

    def remove(self, customer: Customer) -> None:
        """Delete a customer."""
        self._forget_email(customer)
        del self[customer.id]
        self.custom_fields.pop(customer.id, None)
        self._move_external_id(
            Customer(id=customer.id, email="", created_at="", updated_at=""), customer.external_id
        )
        self.version += 1

    def touch(self, customer: Customer, now: str) -> None:
        """Note that a customer was modified."""
        customer.updated_at = now
        self.version += 1

    def _index_email(self, customer: Customer) -> None:
        email = customer.email.lower()
        self._by_email[email] = (*self._by_email.get(email, ()), customer.id)

    def _forget_email(self, customer: Customer) -> None:
        email = customer.email.lower()
        rest = tuple(one for one in self._by_email.pop(email) if one != customer.id)
        if rest:
            self._by_email[email] = rest

    def _move_external_id(self, customer: Customer, old: str | None) -> None:
        if old is not None:
            rest = tuple(one for one in self._by_external_id.get(old, ()) if one != customer.id)
            if rest:
                self._by_external_id[old] = rest
            else:
                self._by_external_id.pop(old, None)
        if (new := customer.external_id) is not None:
            self._by_external_id[new] = (*self._by_external_id.get(new, ()), customer.id)


def cleared() -> dict[str, str | None]:
    """Return the values of a customer of whom nothing is known."""
    texts: dict[str, str | None] = {attribute: EMPTY.get(attribute) for attribute in TEXTS.values()}
    return texts | dict.fromkeys(FLAGS.values(), "0")
