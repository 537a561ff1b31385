"""What one row of ``POST /customers`` may hold, and what it does to a customer. Knows no HTTP.

https://help.expertsender.com/pl/ecdp/api-klienci; lengths and types after
https://help.expertsender.com/ecdp/customers-api-methods.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from airflow_provider_crm.sandbox.expertsender.customers import Customer
from airflow_provider_crm.sandbox.expertsender.switches import ExpertSenderSwitches

GENDERS = ("Male", "Female", "NotSpecified")
CONSENT_VALUES = ("False", "AwaitingConfirmation", "True")
AWAITING = "AwaitingConfirmation"
DEFAULT_MESSAGE_ID = 1

# The key, the attribute of a customer, the longest text.
TEXTS = (
    ("email", "email", 320),
    ("phone", "phone", 20),
    ("crmId", "crm_id", 128),
    ("visitorId", "visitor_id", 38),
    ("firstName", "first_name", 256),
    ("lastName", "last_name", 256),
)

valid_email = re.compile(r"[^@\s,;<>()\"]{1,64}@(?:[^@\s.,;<>()\"]{1,63}\.)+[^@\s.,;<>()\"]{2,63}").fullmatch


class Named(msgspec.Struct, frozen=True):
    """A consent or an attribute as its dictionary lists it."""

    id: int
    name: str
    type: str


CONSENTS = (
    Named(1, "Newsletter subscription", "Email"),
    Named(2, "SMS marketing", "Sms"),
    Named(3, "Terms and conditions", "General"),
    Named(4, "Powiadomienia o zamówieniach", "Email"),
)

ATTRIBUTES = (
    Named(1, "Ville", "String"),
    Named(2, "Points de fidélité", "Number"),
    Named(3, "Dernière visite", "DateTime"),
    Named(4, "Date d'adhésion", "Date"),
    Named(5, "VIP", "Boolean"),
    Named(6, "Magasin préféré", "SingleSelect"),
    Named(7, "Panier moyen", "Money"),
    Named(8, "Site web", "Url"),
    Named(9, "Commentaire", "Text"),
)
_ATTRIBUTE_TYPES = {attribute.name: attribute.type for attribute in ATTRIBUTES}
_CONSENT_IDS = {consent.id for consent in CONSENTS}


class RowError(Exception):
    """A row that cannot be taken.

    :param field: the part of the row, as its key.
    :param reason: a sentence.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Mail(msgspec.Struct):
    """A confirmation e-mail in the mailbox."""

    customer_id: int
    email: str | None
    consent_id: int
    message_id: int


class RowReader:
    """Reads a row into a customer.

    :param switches: what nulls, missing lists, unknown attributes and forced confirmations do.
    """

    def __init__(self, switches: ExpertSenderSwitches) -> None:
        self._switches = switches

    def apply(self, row: dict[str, Any], customer: Customer) -> list[Mail]:
        """Write a row into a customer.

        :param customer: changed in place; use a copy when a later error must leave no trace.
        :return: the confirmation e-mails it causes.
        :raises RowError: the row cannot be taken.
        """
        for key, attribute, longest in TEXTS:
            if self._counts(row, key):
                setattr(customer, attribute, self._text(key, row[key], longest))
        if self._counts(row, "dateOfBirth"):
            customer.date_of_birth = self._date_time("dateOfBirth", row["dateOfBirth"])
        if self._counts(row, "gender"):
            if row["gender"] not in (None, *GENDERS):
                raise RowError("gender", f"must be one of {', '.join(GENDERS)}")
            customer.gender = row["gender"]
        if row.get("customAttributes") is not None:
            self._apply_attributes(row["customAttributes"], customer)
        if row.get("consentsData") is None:
            return []
        return self._apply_consents(row["consentsData"], customer)

    def _counts(self, row: dict[str, Any], key: str) -> bool:
        return key in row and (row[key] is not None or self._switches.null_value == "clear")

    def _text(self, key: str, value: Any, longest: int) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            raise RowError(key, "must be a string")
        if len(value) > longest:
            raise RowError(key, f"must not be longer than {longest} characters")
        if key == "email":
            if not valid_email(value):
                raise RowError(key, "is not a valid e-mail address")
            return value.lower() if self._switches.email_case == "lower" else value
        if key == "phone" and re.search(r"\s", value):
            raise RowError(key, "must not contain spaces")
        return value

    def _date_time(self, key: str, value: Any) -> str | None:
        if value is None:
            return None
        try:
            datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise RowError(key, "is not a date-time") from None
        return str(value)

    def _apply_attributes(self, items: Any, customer: Customer) -> None:
        if not isinstance(items, list):
            raise RowError("customAttributes", "must be a list")
        kept = customer.attributes if self._switches.missing_attributes == "keep" else {}
        attributes = dict(kept)
        for item in items:
            name = item.get("name") if isinstance(item, dict) else None
            if not isinstance(name, str) or not 1 <= len(name) <= 256:
                raise RowError("customAttributes", "name is mandatory, 1 to 256 characters")
            value = item.get("value")
            kind = _ATTRIBUTE_TYPES.get(name)
            if kind is None:
                if self._switches.unknown_attribute == "400":
                    raise RowError("customAttributes", f"attribute {name} does not exist")
                continue
            if value is None:
                if self._switches.null_value == "clear":
                    attributes.pop(name, None)
                continue
            if not isinstance(value, str):
                raise RowError("customAttributes", f"the value of {name} must be a string")
            if self._switches.attribute_types == "check" and not _fits(kind, value):
                raise RowError("customAttributes", f"the value of {name} is not of type {kind}")
            attributes[name] = value
        customer.attributes = attributes

    def _apply_consents(self, data: Any, customer: Customer) -> list[Mail]:
        if not isinstance(data, dict):
            raise RowError("consentsData", "must be an object")
        force, message_id = data.get("force") or False, data.get("confirmationMessageId")
        if not isinstance(force, bool):
            raise RowError("consentsData.force", "must be a boolean")
        if message_id is not None and (not isinstance(message_id, int) or isinstance(message_id, bool)):
            raise RowError("consentsData.confirmationMessageId", "must be an integer")
        consents = dict(customer.consents) if self._switches.missing_consents == "keep" else {}
        mails = []
        for item in data.get("consents") or []:
            consent_id, value = (
                (item.get("id"), item.get("value")) if isinstance(item, dict) else (None, None)
            )
            if not isinstance(consent_id, int) or consent_id not in _CONSENT_IDS:
                raise RowError("consentsData.consents", f"consent {consent_id} does not exist")
            if value not in CONSENT_VALUES:
                raise RowError("consentsData.consents", f"value must be one of {', '.join(CONSENT_VALUES)}")
            if value == AWAITING and self._mails(customer, consent_id, force=force):
                mails.append(Mail(customer.id, customer.email, consent_id, message_id or DEFAULT_MESSAGE_ID))
                customer.confirmed = customer.confirmed | {consent_id}
            consents[consent_id] = value
        customer.consents = consents
        return mails

    def _mails(self, customer: Customer, consent_id: int, *, force: bool) -> bool:
        if self._switches.confirmation == "once":
            return force or consent_id not in customer.confirmed
        return force or customer.consents.get(consent_id) != AWAITING


def _fits(kind: str, value: str) -> bool:
    test = _FITS.get(kind)
    try:
        return test is None or bool(test(value))
    except (ValueError, InvalidOperation):
        return False


_FITS: dict[str, Callable[[str], Any]] = {
    "String": lambda value: len(value) <= 255,
    "Number": lambda value: Decimal(value).is_finite(),
    "Money": lambda value: Decimal(value).is_finite(),
    "Date": lambda value: len(value) == 10 and datetime.strptime(value, "%Y-%m-%d"),
    "DateTime": datetime.fromisoformat,
    "Boolean": lambda value: value.lower() in ("true", "false"),
    "Url": lambda value: re.match(r"https?://\S+$", value),
}
