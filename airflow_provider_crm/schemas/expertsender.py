"""ExpertSender CDP's records: how a source's values are written into a customer.

Knows no HTTP. Facts: the vendor's page on customers (help.expertsender.com, "Klienci - metody API").
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from airflow_provider_crm.exceptions import CrmInputError

Mode = Literal["Add", "Update", "AddOrUpdate"]
MatchBy = Literal["Email", "PhoneNumber", "CrmId", "GUID", "VisitorId"]
By = Literal["id", "email", "phone", "crmId"]

#: The one consent value that makes the CRM write to the person, at every call that carries it.
AWAITING_CONFIRMATION = "AwaitingConfirmation"

#: Fields that are text on the wire although sources often hold numbers.
_TEXTS = ("email", "phone", "crmId", "visitorId", "firstName", "lastName")


def wire_customer(customer: Mapping[str, Any]) -> dict[str, Any]:
    """Write a customer as the vendor wants it: texts as texts, dates with their time, consent values as words.

    :param customer: the vendor's field names; ``customAttributes`` as ``[{"name", "value"}]``, ``consentsData`` as
        ``{"consents": [{"id", "value"}], ...}``. Fields that are None are sent as ``null``.
    :raises CrmInputError: a value that JSON cannot express.
    """
    wire = dict(customer)
    for name in _TEXTS:
        if name in wire:
            wire[name] = _text(wire[name])
    if isinstance(birth := wire.get("dateOfBirth"), dt.date):
        wire["dateOfBirth"] = moment_text(birth)
    try:
        if attributes := wire.get("customAttributes"):
            wire["customAttributes"] = [_attribute(attribute) for attribute in attributes]
        if (data := wire.get("consentsData")) and data.get("consents"):
            wire["consentsData"] = {**data, "consents": [_consent(consent) for consent in data["consents"]]}
    except (AttributeError, TypeError):
        pass
    else:
        return wire
    raise CrmInputError("`customAttributes` or `consentsData` has another shape than ExpertSender documents")


def asks_for_confirmation(customer: Mapping[str, Any]) -> bool:
    """Tell whether sending this customer makes the CRM send a confirmation message to the person."""
    consents = (customer.get("consentsData") or {}).get("consents") or ()
    return any(consent.get("value") == AWAITING_CONFIRMATION for consent in consents)


def moment_text(value: dt.date) -> str:
    """Write a date or a moment as ``2023-07-25T12:35:54.712Z``; one without a zone is taken as UTC."""
    if not isinstance(value, dt.datetime):
        return f"{value.isoformat()}T00:00:00.000Z"
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    return f"{dt.datetime.isoformat(value, timespec='milliseconds')}Z"


def _attribute(attribute: Mapping[str, Any]) -> dict[str, Any]:
    return {**attribute, "value": _text(attribute.get("value"))}


def _consent(consent: Mapping[str, Any]) -> dict[str, Any]:
    value = consent.get("value")
    if isinstance(value, bool):
        value = str(value)  # the words "True" and "False": the vendor takes no JSON booleans
    elif isinstance(value, str) and value.strip().casefold() == AWAITING_CONFIRMATION.casefold():
        value = AWAITING_CONFIRMATION
    return {**consent, "value": value}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime):
        return moment_text(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, (float, Decimal)) and not math.isfinite(value):
        raise CrmInputError("A value is not a number (NaN or infinite)")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # how many sources hand out whole numbers
    if isinstance(value, (float, Decimal)):
        return format(Decimal(str(value)), "f")
    if isinstance(value, int):
        return str(value)
    raise CrmInputError(f"A value of type {type(value).__name__} cannot be written as text")
