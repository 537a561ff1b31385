"""SPREAD's records: what its answers look like once their quirks are gone, and how values are written to it.

Knows no HTTP. Facts: the vendor's pages "Customers", "API - Customer Consentement" and "Cagnotte"
(help.spreadfamily.fr) unless said.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from airflow_provider_crm.exceptions import CrmInputError

Row = dict[str, Any]
"""A record with the vendor's own field names."""

#: The vendor shows local times without a zone.
ZONE = ZoneInfo("Europe/Paris")

ShownStatus = Literal["accepted", "refused", "toBeConfirmed", "unknown"]
ConsentStatus = Literal["accepted", "refused", "unknown"]
"""What can be written; ``toBeConfirmed`` can only be read."""

#: Filters of the lists: our name -> the vendor's, which has its own spelling of "created before".
_DATES = {"created_after": "createdAfter", "created_before": "createBefore"}
_CHANGES = {"modified_after": "modifiedAfter", "modified_before": "modifiedBefore"}
CUSTOMER_FILTERS = {
    **_DATES,
    **_CHANGES,
    "email": "email",
    "last_name": "lastName",
    "first_name": "firstName",
    "zipcode": "zipcode",
    "city": "city",
    "country": "country",
    "phone_number": "phoneNumber",
    "mobile_phone_number": "mobilePhoneNumber",
    "case_insensitive": "caseInsensitive",
    "show_custom_fields": "showCustomFields",
    "external_id": "externalId",
}
ANSWER_FILTERS = {
    **_DATES,
    "customer_consent_status": "customerConsentStatus",
    "status": "customerConsentStatus",
    "customer_consent_source": "customerConsentSource",
    "consent_source": "customerConsentSource",
    "source": "customerConsentSource",
}
CUSTOMER_CONSENT_FILTERS = {
    **ANSWER_FILTERS,
    "consent_id": "consentId",
    "consent_tech_name": "consentTechName",
}
LOYALTY_FILTERS = {
    **_DATES,
    **_CHANGES,
    "customer_id": "customerId",
    "cagnotte_id": "cagnotteId",
    "campaign_id": "campaignId",
    "min_amount": "minAmount",
    "max_amount": "maxAmount",
    "amount": "amount",
}

#: Fields that are text in the vendor's samples; a server may print them as numbers.
_TEXTS = (
    "id",
    "externalId",
    "cagnotteAmount",
    "amount",
    "customerId",
    "cagnotteId",
    "cagnotteLineId",
    "campaignId",
    "consentId",
    "trackId",
    "customerConsentSourceId",
)
_FLAGS = ("isFan", "isFollow", "isFanLinkedin", "isBuyer")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE)

# Fractions become text as they were written: an amount must not be rounded on its way.
_decoder = msgspec.json.Decoder(float_hook=str)


# Reading


def decode(data: msgspec.Raw | bytes) -> Any:
    """Decode JSON; a number with a fraction becomes the text it was written as.

    :raises msgspec.DecodeError: no JSON.
    """
    return _decoder.decode(data)


def is_nothing(value: Any) -> bool:
    """Tell whether a value is one of PHP's ways to say that there is none."""
    return value is None or value is False or value in ("", [], {})


def rows_of(value: Any) -> list[Row]:
    """Read a list of records, which PHP prints as a map where it has gaps (``{"0": {...}, "2": {...}}``).

    :raises ValueError: no list of records.
    """
    if is_nothing(value):
        return []
    rows = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("something else than a list of records")
    return [plain_row(row) for row in rows]


def record_of(value: Any) -> Row | None:
    """Read one record.

    :return: None when there is none.
    :raises ValueError: something else than a record.
    """
    if is_nothing(value):
        return None
    if not isinstance(value, dict):
        raise ValueError("something else than a record")
    return plain_row(value)


def plain_row(row: Row) -> Row:
    """Give ids and amounts as text, as the vendor's samples do."""
    for name in _TEXTS:
        value = row.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            row[name] = str(value)
    return row


def plain_customer(row: Row) -> Row:
    """Normalise a customer: ``tags`` is a list, ``custom_fields`` a map, each always of that type.

    ``tags`` is always there; ``custom_fields`` only where the CRM gives it, as ``{field id: "Name:Value"}``, see
    :func:`split_custom_field`.
    """
    row["tags"] = _tags(row.get("tags"))
    if "custom_fields" in row:
        row["custom_fields"] = _custom_fields(row["custom_fields"])
    return row


def split_custom_field(text: str) -> tuple[str, str]:
    """Split a custom field as the CRM prints it, ``Sport:Basket``, which is not how it is written.

    :return: the field's name, and its value; an empty name when the text holds none.
    """
    name, colon, value = text.partition(":")
    return (name, value) if colon else ("", text)


def _tags(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [tag for tag in value.split("|") if tag]
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _custom_fields(value: Any) -> dict[str, Any]:
    if isinstance(value, list):  # how PHP prints a map whose keys run from 0 on, or an empty one
        return {str(number): part for number, part in enumerate(value)}
    return value if isinstance(value, dict) else {}


# Writing


def query_of(filters: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Write filters as a query; those that are None are left out.

    :param filters: our name -> value.
    :param names: our name -> the vendor's, of the filters that are allowed.
    :raises CrmInputError: an unknown filter, two names of the same one, or a value that cannot be written.
    """
    if unknown := sorted(set(filters) - set(names)):
        raise CrmInputError(f"Unknown filter(s) {', '.join(unknown)}; allowed are {', '.join(names)}")
    query: dict[str, str] = {}
    for name, value in filters.items():
        if value is None:
            continue
        if names[name] in query:
            raise CrmInputError(f"The filter {name} is given twice, under two names")
        query[names[name]] = _filter_text(name, value)
    return list(query.items())


def _filter_text(name: str, value: Any) -> str:
    try:
        text = value_text(value)
    except ValueError as error:
        raise CrmInputError(f"The filter {name}: {error}") from None
    if not text:
        # Servers overlook an empty filter, so that everything would come instead of nothing.
        raise CrmInputError(f"The filter {name} is empty; leave it out, or set it to None")
    return text


def value_text(value: Any) -> str:
    """Write one value as text: flags as 1 and 0, moments in local time, numbers without exponent.

    :raises CrmInputError: a value of another kind, or no number.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, dt.datetime):
        return moment_text(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, (int, float, Decimal)):
        return number_text(value)
    raise CrmInputError(f"a value of type {type(value).__name__} cannot be written as text")


def moment_text(value: dt.date) -> str:
    """Write a moment as ``2018-06-30 09:10:34``.

    :param value: a datetime with a zone is converted to the vendor's local time, one without is taken as it is;
        a date is its midnight.
    """
    if not isinstance(value, dt.datetime):
        return f"{value.isoformat()} 00:00:00"
    try:
        if value.tzinfo is not None:
            value = value.astimezone(ZONE).replace(tzinfo=None)
    except OverflowError:
        raise CrmInputError("this is no date of the calendar") from None
    return dt.datetime.isoformat(value, " ", "seconds")


def number_text(value: str | int | float | Decimal) -> str:
    """Write a number exactly, without an exponent: also as a JSON number.

    :raises CrmInputError: no number, or an unreasonably long one.
    """
    text = str(value).strip()
    if isinstance(value, bool) or not _NUMBER.fullmatch(text):
        raise CrmInputError("this is not a number")
    number = Decimal(text)
    return format(number, "f") if number else "0"


def wire_customer(customer: Mapping[str, Any]) -> Row:
    """Write a customer's fields as the vendor documents them.

    :param customer: the vendor's field names. ``tags`` is a list, or a text ``a|b``; ``custom_fields`` maps field ids
        to bare values, several choices being a list. None is sent as ``null``.
    :raises CrmInputError: no e-mail, or a value that cannot be written; the message names the field.
    """
    wire = {name: _field(name, value) for name, value in customer.items()}
    email = wire.get("email")
    if not isinstance(email, str) or not email.strip():
        raise CrmInputError("SPREAD wants the e-mail of a customer in every create and update")
    wire["email"] = email.strip()
    return wire


def _field(name: str, value: Any) -> Any:
    if value is None:
        return None
    try:
        if name == "tags":
            return [value_text(tag) for tag in (_tags(value) if isinstance(value, str) else value)]
        if name == "custom_fields":
            return {str(field): _custom_value(part) for field, part in value.items()}
        if name == "birthday" and isinstance(value, dt.datetime):
            return value.date().isoformat()
        if name in _FLAGS and isinstance(value, (bool, int)):
            return int(value)
        return value_text(value)
    except ValueError as error:
        problem = str(error)
    except (AttributeError, TypeError):
        problem = "another shape than documented"
    raise CrmInputError(f"The field {name}: {problem}")


def _custom_value(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        return "|".join(value_text(part) for part in value)
    return value_text(value)


def wire_consent(
    *,
    status: str,
    created_at: dt.date | str,
    consent_id: str | int | None,
    consent_tech_name: str | None,
    ip: str | None,
    channel_id: str | int | None,
) -> Row:
    """Write an answer to a consent.

    The vendor's list of parameters names the consent ``consentId`` or ``consentTechName``, its sample ``id`` and
    ``techName``: both are sent, since either may be the one that is read.

    :raises CrmInputError: a status that cannot be written, no date, or no consent.
    """
    if status not in ("accepted", "refused", "unknown"):
        raise CrmInputError("`status` has to be accepted, refused or unknown")
    date = moment_text(created_at) if isinstance(created_at, dt.date) else str(created_at or "").strip()
    if not date:
        raise CrmInputError("`created_at` is missing")
    wire: Row = {}
    if number := str("" if consent_id is None else consent_id).strip():
        wire["id"] = wire["consentId"] = int(number) if number.isdecimal() else number
    if name := str(consent_tech_name or "").strip():
        wire["techName"] = wire["consentTechName"] = name
    if not wire:
        raise CrmInputError("`consent_id` or `consent_tech_name` is required")
    wire |= {"createdAt": date, "customerConsentStatus": status}
    if ip:
        wire["ip"] = str(ip).strip()
    if channel_id is not None and str(channel_id).strip():
        wire["channelId"] = channel_id
    return wire


def wire_credit(
    *, amount: str | int | float | Decimal, email: str | None, customer_id: str | int | None
) -> Row:
    """Write a credit, its amount as an exact JSON number.

    :raises CrmInputError: no number, or not exactly one of e-mail and id.
    """
    number = number_text(amount)
    who = {
        name: str(value).strip() for name, value in (("email", email), ("customerId", customer_id)) if value
    }
    if len(who) != 1 or not all(who.values()):
        raise CrmInputError("Exactly one of `email` and `customer_id` is required")
    # As a number in the vendor's sample; msgspec would write a Decimal as text.
    return {"customer": who, "cagnotte": {"amount": msgspec.Raw(number.encode())}}
