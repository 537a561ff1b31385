"""What may be written to SPREAD: a row's values checked and put into the vendor's form, before any call.

Knows neither HTTP nor a source. Facts: the vendor's pages "Customers" and "API - Customer Consentement"
(help.spreadfamily.fr). What reading gives is in :mod:`.read`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any, get_args

import msgspec

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.schemas.records import own_columns
from airflow_provider_crm.schemas.spread.cells import (
    FLAGS,
    ConsentStatus,
    check_of,
    checked,
    consent_moment,
    custom_fields_of,
    custom_value,
    is_id,
    tags_of,
    text_of,
)
from airflow_provider_crm.schemas.spread.read import Record, split_custom_field
from airflow_provider_crm.values import (
    comparable,
    compared_email,
    is_empty,
    key_of,
    number_of,
    number_text,
)

Fact = tuple[str, str]
"""A field and what it holds, in the form that is compared."""

#: Customer fields that hold one text each, without the e-mail.
TEXTS = (
    "lastName",
    "firstName",
    "country",
    "city",
    "address",
    "address2",
    "address3",
    "zip",
    "phone",
    "mobile",
    "lang",
    "birthday",
    "gender",
    "externalId",
    "company",
    "fonction",
)
#: Every customer field that can be written.
CUSTOMER_FIELDS = ("email", *TEXTS, *FLAGS, "tags", "custom_fields")
#: What the export of customers has besides.
_SHOWN = frozenset(
    ("id", "createdAt", "updatedAt", "actionCount", "lastActionDt", "lastOrderDt", "cagnotteAmount")
)
_NESTED = ("tags", "custom_fields")
#: What a single custom field is called, followed by its id.
CUSTOM_FIELD = "custom_fields."


# Customers


class CustomerFields:
    """The fields of a customer that can be written, found by the names that users write.

    :param writable: the vendor's names of those that the API version takes.
    """

    def __init__(self, writable: Collection[str] = CUSTOMER_FIELDS) -> None:
        self._writable = writable

    def find(self, name: str | int) -> str | None:
        """Find a field by the vendor's name, or ``custom_fields.1234``; None when there is none."""
        text = str(name)
        if text in self._writable:
            return text
        number = text.removeprefix(CUSTOM_FIELD)
        return text if number != text and "custom_fields" in self._writable and is_id(number) else None

    def names(self) -> Collection[str]:
        """Return the names to choose from, for an error message."""
        return self._writable

    def passed_over(self, columns: Collection[str]) -> Collection[str]:
        """Return the columns that SPREAD alone writes, where a source with these columns is an export of it."""
        return own_columns(columns, _SHOWN, "extra")


def customer_values(fields: Iterable[tuple[str, Any]], *, send_blanks: bool) -> Record:
    """Check a row's values and put them into the vendor's form.

    :param fields: field, as :class:`CustomerFields` gives it, and value.
    :param send_blanks: whether a blank value becomes None, which clears; otherwise it is left out. The e-mail, without
        which nothing can be written, and tags, which can only be added, are always left out when they are blank.
    :return: texts; ``tags`` as a list, ``custom_fields`` as a map of id to text.
    :raises ValueError: names the field, and says what is allowed.
    """
    values: Record = {}
    custom: dict[str, Any] = {}
    for field, value in fields:
        if field == "custom_fields":
            # A field that has a column of its own is taken from there.
            custom = ({} if is_empty(value) else checked(field, custom_fields_of, value)) | custom
        elif field.startswith(CUSTOM_FIELD):
            custom[field.removeprefix(CUSTOM_FIELD)] = value
        elif not is_empty(value) and (written := checked(field, check_of(field), value)):
            values[field] = written
        elif send_blanks and field not in ("email", "tags"):
            values[field] = None
    numbered: dict[str, str | None] = {}
    for number, value in custom.items():
        text = "" if is_empty(value) else checked(CUSTOM_FIELD + number, custom_value, value)
        if text or send_blanks:
            numbered[number] = text or None
    return values | ({"custom_fields": numbered} if numbered else {})


def differing(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name the fields in which a customer is not as wanted.

    :param held: the customer as the CRM gives it, with ``custom_fields``.
    :param wanted: values as :func:`customer_values` gives them; tags that the customer has besides do not count, since
        writing only adds.
    """
    facts = facts_held(held)
    known = {field for field, _ in facts}

    def lacks(fact: Fact) -> bool:
        field, text = fact
        return fact not in facts and (text != "" or field in known)

    return [name for name, value in wanted.items() if any(map(lacks, facts_wanted({name: value})))]


def facts_wanted(wanted: Mapping[str, Any]) -> set[Fact]:
    """Return values as what can be compared piece by piece: each field, tag and custom field with its text."""
    facts = {(name, _comparable(name, value)) for name, value in wanted.items() if name not in _NESTED}
    facts.update(("tags", comparable(tag)) for tag in wanted.get("tags") or ())
    custom = wanted.get("custom_fields") or {}
    facts.update((CUSTOM_FIELD + number, _choices(text)) for number, text in custom.items())
    return facts


def facts_held(held: Mapping[str, Any]) -> set[Fact]:
    """Return a customer as :func:`facts_wanted` does."""
    custom = {number: split_custom_field(text)[1] for number, text in _held_custom_fields(held).items()}
    plain = {name: held.get(name) for name in CUSTOMER_FIELDS if name not in _NESTED}
    return facts_wanted({**plain, "tags": _held_tags(held), "custom_fields": custom})


def _choices(value: str | None) -> str:
    return "|".join(sorted(comparable(part) for part in (value or "").split("|")))


def _comparable(name: str, value: Any) -> str:
    text = _held_text(value)
    if name in FLAGS:
        return text or "0"
    if name == "birthday":
        return text[:10]
    if name == "lang":
        return re.split("[_-]", text.lower())[0]  # version 1 wants fr_FR, and version 2 shows fr
    if name == "email":
        return compared_email(text)
    if name in ("country", "gender"):
        return text.casefold()
    return comparable(_as_written(name, text))


def _as_written(name: str, text: str) -> str:
    """Write a text that the CRM holds as one from a row, where it can be."""
    try:
        return str(check_of(name)(text))
    except ValueError:
        return text


def overlaid(held: Mapping[str, Any], wanted: Mapping[str, Any], writable: Collection[str]) -> Record:
    """Lay wanted values over all that the CRM holds of a customer and that can be written.

    Whether an update clears what it does not mention is not documented.
    """
    whole = {name: text for name in writable if name not in _NESTED and (text := _held_text(held.get(name)))}
    if "birthday" in whole:
        whole["birthday"] = whole["birthday"][:10]
    nested = {
        "tags": list(dict.fromkeys((*_held_tags(held), *(wanted.get("tags") or ())))),
        "custom_fields": _carried_custom_fields(held) | (wanted.get("custom_fields") or {}),
    }
    return (
        whole | dict(wanted) | {name: value for name, value in nested.items() if value and name in writable}
    )


def _held_text(value: Any) -> str:
    """Read one value; whatever is no text or number is nothing that could be written back."""
    return text_of(value) if isinstance(value, (str, int)) else ""


def _held_tags(held: Mapping[str, Any]) -> list[str]:
    return [text for tag in held.get("tags") or () if (text := _held_text(tag))]


def _held_custom_fields(held: Mapping[str, Any]) -> dict[str, str]:
    return {number: _held_text(value) for number, value in (held.get("custom_fields") or {}).items()}


def _carried_custom_fields(held: Mapping[str, Any]) -> dict[str, Any]:
    # Shown is "Name:Value", written is the value. Of a text with several colons nobody can tell where the value
    # begins; and what the page says of custom fields is that they are added.
    return {
        number: split_custom_field(text)[1]
        for number, text in _held_custom_fields(held).items()
        if text.count(":") == 1 and not text.endswith(":")
    }


# What the hook sends


def wire_customer(customer: Mapping[str, Any]) -> Record:
    """Write a customer's fields as the vendor documents them.

    :param customer: the vendor's field names. ``tags`` is a list, or a text ``a|b``; ``custom_fields`` maps field ids
        to bare values, several choices being a list. None is sent as ``null``.
    :raises CrmInputError: no e-mail, or a value that cannot be written; the message names the field.
    """
    if not isinstance(customer, Mapping):
        raise CrmInputError(
            f"A customer is a dict of the vendor's field names, not a {type(customer).__name__}"
        )
    if is_empty(customer.get("email")):
        raise CrmInputError("SPREAD wants the e-mail of a customer in every create and update")
    return {name: _wire_value(name, value) for name, value in customer.items()}


def _wire_value(name: str, value: Any) -> Any:
    if value is None:
        return None
    try:
        if name == "tags":
            return tags_of(value if isinstance(value, str) else list(value))
        if name == "custom_fields":
            return {str(field): _wire_custom(part) for field, part in value.items()}
        if name in FLAGS and isinstance(value, int):
            return int(value)
        if name == "birthday" and not isinstance(value, str):
            return check_of(name)(value)
        # Not checked any further: an update repeats what the CRM holds, in its own spelling.
        return text_of(value)
    except ValueError as error:
        problem = str(error)
    except (AttributeError, TypeError):
        problem = "another shape than documented"
    raise CrmInputError(f"The field {name}: {problem}")


def _wire_custom(value: Any) -> str | None:
    return None if value is None else custom_value(value)


def wire_consent(
    *,
    status: str,
    created_at: dt.date | str,
    consent_id: str | int | None,
    consent_tech_name: str | None,
    ip: str | None,
    channel_id: str | int | None,
) -> Record:
    """Write an answer to a consent, which is evidence: what cannot be one is not sent.

    The vendor's list of parameters names the consent ``consentId`` or ``consentTechName``, its sample ``id`` and
    ``techName``: both are sent, since either may be the one that is read.

    :raises CrmInputError: a status that cannot be written, no date, or no consent.
    """
    if status not in get_args(ConsentStatus):
        raise CrmInputError(f"`status` has to be one of {', '.join(get_args(ConsentStatus))}")
    try:
        date = checked("created_at", consent_moment, created_at)
        number = checked("consent_id", key_of, consent_id)
        channel = checked("channel_id", key_of, channel_id)
    except ValueError as error:
        raise CrmInputError(f"An answer to a consent cannot be sent: {error}") from None
    wire: Record = {}
    if number:
        wire["id"] = wire["consentId"] = int(number) if number.isdecimal() else number
    if name := str(consent_tech_name or "").strip():
        wire["techName"] = wire["consentTechName"] = name
    if not wire:
        raise CrmInputError("`consent_id` or `consent_tech_name` is required")
    wire |= {"createdAt": date, "customerConsentStatus": status}
    if ip:
        wire["ip"] = str(ip).strip()
    if channel:
        wire["channelId"] = channel_id if isinstance(channel_id, int) else channel
    return wire


def wire_credit(
    *, amount: str | int | float | Decimal, email: str | None, customer_id: str | int | None
) -> Record:
    """Write a credit, its amount as an exact JSON number.

    :raises CrmInputError: no number, or not exactly one of e-mail and id.
    """
    try:
        number = checked("amount", number_of, amount)
        who = {
            name: checked(name, write, value)
            # The e-mail as it is given: the CRM may find it in its own case only.
            for name, write, value in (("email", text_of, email), ("customerId", key_of, customer_id))
            if not is_empty(value)
        }
    except ValueError as error:
        raise CrmInputError(f"A credit cannot be sent: {error}") from None
    if len(who) != 1 or not all(who.values()):
        raise CrmInputError("Exactly one of `email` and `customer_id` is required")
    # As a number in the vendor's sample; msgspec would write a Decimal as text.
    return {"customer": who, "cagnotte": {"amount": msgspec.Raw(number_text(number).encode())}}
