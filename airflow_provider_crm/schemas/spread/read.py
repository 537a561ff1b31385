"""SPREAD's records: what its answers look like once their quirks are gone, and the filters of its lists.

Knows no HTTP. Facts: the vendor's pages "Customers", "API - Customer Consentement" and "Cagnotte"
(help.spreadfamily.fr) unless said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.parameters import yes_or_no
from airflow_provider_crm.schemas.spread.cells import text_of

Record = dict[str, Any]
"""A record with the vendor's own field names."""

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

#: Fields that are text in the vendor's samples, but a number in that of a new consent ("API - Customer Consentement").
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

# Fractions become text as they were written: an amount must not be rounded on its way.
_decoder = msgspec.json.Decoder(float_hook=str)


# Reading


def decode(data: msgspec.Raw | bytes) -> Any:
    """Decode JSON; a number with a fraction becomes the text it was written as.

    :raises msgspec.DecodeError: no JSON.
    """
    return _decoder.decode(data)


def is_nothing(value: Any) -> bool:
    """Return whether a value is one of PHP's ways to say that there is none."""
    return value is None or value is False or value in ("", [], {})


def rows_of(value: Any) -> list[Record]:
    """Read a list of records, which PHP prints as a map where it has gaps (``{"0": {...}, "2": {...}}``).

    So it happened in directus/v8-archive, pull request 1318; the vendor's samples are in PHP's syntax ("Customers").

    :raises ValueError: no list of records.
    """
    if is_nothing(value):
        return []
    rows = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("something else than a list of records")
    return [plain_row(row) for row in rows]


def record_of(value: Any) -> Record | None:
    """Read one record.

    :return: None when there is none.
    :raises ValueError: something else than a record.
    """
    if is_nothing(value):
        return None
    if not isinstance(value, dict):
        raise ValueError("something else than a record")
    return plain_row(value)


def plain_row(row: Record) -> Record:
    """Return ids and amounts as text, as the vendor's samples do."""
    for name in _TEXTS:
        value = row.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            row[name] = str(value)
    return row


def plain_customer(row: Record) -> Record:
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


# Asking


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
    if name in ("case_insensitive", "show_custom_fields"):
        value = yes_or_no(name, value)
    try:
        text = text_of(value)
    except ValueError as error:
        raise CrmInputError(f"The filter {name}: {error}") from None
    if not text:
        # Servers overlook an empty filter, so that everything would come instead of nothing.
        raise CrmInputError(f"The filter {name} is empty; leave it out, or set it to None")
    return text
